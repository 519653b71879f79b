//! Secrets on their way in: asked for on a terminal without echo, or read from a file, stdin or the environment; never
//! an argument.

use crate::output::Exit;
use anyhow::{Context, Result, bail, ensure};
use r3mes_wgpu::tx::{MAX_MNEMONIC_BYTES, Mnemonic};
use std::{
    env, fmt, fs,
    io::{ErrorKind, IsTerminal, Read, stdin},
    path::Path,
};
use zeroize::Zeroizing;

/// Holds a passphrase for programs that start this one.
const VARIABLE: &str = "R3MES_PASSPHRASE";
/// Holds a pinning service's token.
const TOKEN_VARIABLE: &str = "R3MES_PIN_TOKEN";
/// Most bytes of a token.
const MAX_TOKEN_BYTES: usize = 8192;
/// Most bytes of a passphrase.
const MAX_PASSPHRASE_BYTES: usize = 1024;
/// Fewest letters of a new passphrase.
const MIN_LETTERS: usize = 8;

/// A text that is overwritten when it is dropped, and that no `Debug` shows.
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
        // as long as it may get, so that nothing of it stays behind in memory that was grown out of
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

    fn asked(prompt: &str) -> Result<Self> {
        match rpassword::prompt_password(prompt) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Exit::Interrupted.into()),
            text => Ok(Self(Zeroizing::new(text.context("asking on the terminal")?))),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a passphrase is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To open what it closed.
    Open,
    /// To close something new: it must be long enough, and is asked for twice.
    Seal,
}

/// The passphrase: from a file, where one is named, else from the environment, else from the terminal.
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
                "no terminal to ask for the passphrase on; give --passphrase-file FILE, or {VARIABLE} in the environment"
            );
            let secret = Secret::asked("Passphrase: ")?;
            let again = purpose == Purpose::Seal && Secret::asked("The same again: ")?.text() != secret.text();
            ensure!(!again, "the two passphrases differ");
            secret
        }
    };
    let letters = secret.text().chars().count();
    ensure!(letters > 0, "the passphrase is empty");
    ensure!(
        purpose == Purpose::Open || letters >= MIN_LETTERS,
        "the passphrase has {letters} letters, at least {MIN_LETTERS} are needed"
    );
    Ok(secret)
}

/// A service's token: from a file, where one is named, else from the environment.
pub(crate) fn token(file: Option<&Path>) -> Result<Secret> {
    let secret = match file {
        Some(file) => Secret::read_file(file, MAX_TOKEN_BYTES)?,
        None => Secret(Zeroizing::new(env::var(TOKEN_VARIABLE).ok().with_context(|| {
            format!("the pinning service wants a token: --pin-token-file FILE, or {TOKEN_VARIABLE} in the environment")
        })?)),
    };
    let token = secret.text().trim();
    ensure!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "the token is no word of ASCII");
    Ok(Secret(Zeroizing::new(token.to_owned())))
}

/// A mnemonic of another wallet: from a file, where one is named, else asked for on a terminal, else from stdin.
pub(crate) fn mnemonic(file: Option<&Path>) -> Result<Mnemonic> {
    let secret = match file {
        Some(file) => Secret::read_file(file, MAX_MNEMONIC_BYTES)?,
        None if stdin().is_terminal() => Secret::asked("Mnemonic (it is not shown): ")?,
        None => Secret::read(stdin().lock(), MAX_MNEMONIC_BYTES).context("reading the mnemonic from stdin")?,
    };
    Ok(Mnemonic::parse(secret.text())?)
}

/// A word of a mnemonic that its owner repeats, to show that it is written down.
pub(crate) fn repeated(prompt: &str, word: &str) -> Result<bool> {
    Ok(Secret::asked(prompt)?.text().trim().eq_ignore_ascii_case(word))
}

/// From here on this process leaves no core dump, in which its secrets would be; on Linux other processes of its user
/// can not read its memory either.
pub(crate) fn keep_out_of_dumps() -> Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("refusing core dumps")?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context("refusing core dumps")?;
    }
    Ok(())
}
