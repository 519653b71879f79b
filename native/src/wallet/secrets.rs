//! Reads secrets from a terminal (without echo), a file, stdin or the environment. A secret is never a command-line
//! argument.

use crate::output::Exit;
use anyhow::{Context, Result, bail, ensure};
use r3mes_wgpu::tx::{MAX_MNEMONIC_BYTES, Mnemonic};
use std::{
    env, fmt, fs,
    io::{ErrorKind, IsTerminal, Read, stdin},
    path::Path,
};
use zeroize::Zeroizing;

/// The environment variable from which the passphrase is read if no file is given. Scripts can set it.
const VARIABLE: &str = "R3MES_PASSPHRASE";
/// The environment variable from which the access token of a pinning service is read if no file is given.
const TOKEN_VARIABLE: &str = "R3MES_PIN_TOKEN";
/// The maximum size of a file with an access token, in bytes.
const MAX_TOKEN_BYTES: usize = 8192;
/// The maximum size of a file with a passphrase, in bytes.
const MAX_PASSPHRASE_BYTES: usize = 1024;
/// The minimum length of a new passphrase in characters.
const MIN_CHARACTERS: usize = 8;

/// A secret text. Its memory is overwritten when the value is dropped, and its `Debug` output does not contain it.
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn read(from: impl Read, limit: usize) -> Result<Self> {
        // allocates the full size, because a growing vector would leave copies of the secret behind
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 64));
        from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() <= limit, "more than {limit} bytes");
        let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("not UTF-8"))?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    fn read_file(path: &Path, limit: usize) -> Result<Self> {
        let read = || Self::read(fs::File::open(path)?, limit);
        read().with_context(|| format!("reading {}", path.display()))
    }

    fn prompt(prompt: &str) -> Result<Self> {
        match rpassword::prompt_password(prompt) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Exit::Interrupted.into()),
            text => Ok(Self(Zeroizing::new(text.context("reading from the terminal")?))),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The purpose for which a passphrase is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Decrypting an existing wallet.
    Open,
    /// Encrypting a new wallet. The passphrase must have at least 8 characters; in a terminal, the user is asked for it
    /// twice.
    Seal,
}

/// Reads the passphrase from the file if one is given, otherwise from the environment, otherwise from the terminal.
pub(crate) fn passphrase(file: Option<&Path>, purpose: Purpose) -> Result<Secret> {
    let given = match (file, env::var(VARIABLE)) {
        (Some(file), _) => {
            let secret = Secret::read_file(file, MAX_PASSPHRASE_BYTES)?;
            let line = secret.text().strip_suffix('\n').unwrap_or(secret.text());
            Some(Secret(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())))
        }
        (None, Ok(text)) => Some(Secret(Zeroizing::new(text))),
        (None, Err(env::VarError::NotUnicode(_))) => bail!("{VARIABLE} is not UTF-8"),
        (None, Err(env::VarError::NotPresent)) => None,
    };
    let secret = match given {
        Some(secret) => secret,
        None => {
            ensure!(
                stdin().is_terminal(),
                "no terminal to read the passphrase from; pass --passphrase-file FILE or set {VARIABLE}"
            );
            let secret = Secret::prompt("Passphrase: ")?;
            let differs =
                purpose == Purpose::Seal && Secret::prompt("Repeat the passphrase: ")?.text() != secret.text();
            ensure!(!differs, "the two passphrases differ");
            secret
        }
    };
    let characters = secret.text().chars().count();
    ensure!(characters > 0, "the passphrase is empty");
    ensure!(
        purpose == Purpose::Open || characters >= MIN_CHARACTERS,
        "the passphrase has {characters} characters; at least {MIN_CHARACTERS} are needed"
    );
    Ok(secret)
}

/// Reads the access token of a pinning service from the file if one is given, otherwise from the environment.
pub(crate) fn token(file: Option<&Path>) -> Result<Secret> {
    let secret = match file {
        Some(file) => Secret::read_file(file, MAX_TOKEN_BYTES)?,
        None => Secret(Zeroizing::new(env::var(TOKEN_VARIABLE).ok().with_context(|| {
            format!(
                "the pinning service needs an access token; pass --pin-token-file FILE or set the environment variable \
                 {TOKEN_VARIABLE}"
            )
        })?)),
    };
    let token = secret.text().trim();
    ensure!(
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token must be one word of printable ASCII"
    );
    Ok(Secret(Zeroizing::new(token.to_owned())))
}

/// Reads the mnemonic of an existing wallet: from the file if one is given, otherwise from stdin. If stdin is a
/// terminal, the input is hidden.
pub(crate) fn mnemonic(file: Option<&Path>) -> Result<Mnemonic> {
    let secret = match file {
        Some(file) => Secret::read_file(file, MAX_MNEMONIC_BYTES)?,
        None if stdin().is_terminal() => Secret::prompt("Mnemonic (hidden): ")?,
        None => Secret::read(stdin().lock(), MAX_MNEMONIC_BYTES).context("reading the mnemonic from stdin")?,
    };
    Ok(Mnemonic::parse(secret.text())?)
}

/// Asks the user for one word of a new mnemonic, to check that the mnemonic was written down. Returns whether the user
/// entered `word`, in upper or lower case.
pub(crate) fn confirm_word(prompt: &str, word: &str) -> Result<bool> {
    Ok(Secret::prompt(prompt)?.text().trim().eq_ignore_ascii_case(word))
}

/// Disables core dumps of this process, because a dump would contain its secrets. On Linux, this also prevents other
/// processes of the same user from reading the memory of this process.
pub(crate) fn keep_out_of_dumps() -> Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("disabling core dumps")?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context("disabling core dumps")?;
    }
    Ok(())
}
