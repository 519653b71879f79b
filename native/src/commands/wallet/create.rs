//! `wallet new`, `wallet import`, `wallet show` and `wallet operator`: nothing of them needs a node.

use super::{ImportArgs, KeptArgs, NewArgs, OperatorArgs, PathArgs, ShowArgs};
use crate::{
    output::{Exit, say},
    paths,
    wallet::{
        folder::Wallets,
        keystore::{COST, Fresh, Keystore},
        secrets::{self, Purpose, passphrase, repeated},
        session,
    },
};
use anyhow::{Context, Result, bail, ensure};
use r3mes_wgpu::tx::{KeyPath, Mnemonic, SessionKey};
use serde_json::json;
use std::io::{IsTerminal, stderr, stdin};
use zeroize::Zeroizing;

/// Times that a word of a new mnemonic may be mistaken.
const ATTEMPTS: usize = 3;

/// Makes a mnemonic, shows it once, and keeps it.
pub(super) fn new(args: &NewArgs) -> Result<Exit> {
    let NewArgs { name, words, print_mnemonic, path, kept } = args;
    let (wallets, path) = (wallets(kept)?, key_path(*path)?);
    wallets.check_free(name)?;
    ensure!(
        *print_mnemonic || (stdin().is_terminal() && stderr().is_terminal()),
        "no terminal to show the mnemonic on; --print-mnemonic prints it on stdout"
    );
    let passphrase = passphrase(kept.passphrase_file.as_deref(), Purpose::Seal)?;
    let mut entropy = Zeroizing::new(vec![0; words / 3 * 4]);
    getrandom::fill(&mut entropy).context("asking the system for random bytes")?;
    let mnemonic = Mnemonic::from_entropy(&entropy)?;
    if !print_mnemonic {
        confirm(&mnemonic)?;
    }
    let keystore = Keystore::seal(&mnemonic, path, &passphrase, COST, &fresh()?)?;
    let file = wallets.keep(name, &keystore)?;
    let text = Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" "));
    if kept.json {
        let mut told = json!({
            "event": "made", "name": name, "address": keystore.address(), "path": keystore.path(), "file": file,
        });
        if *print_mnemonic {
            told["mnemonic"] = json!(*text);
        }
        say!("{told}");
    } else {
        say!("{name}  {}  {}", keystore.address(), keystore.path());
        if *print_mnemonic {
            say!("{}", *text);
        }
    }
    eprintln!("kept in {}; without its passphrase or the mnemonic nobody can use it", file.display());
    Ok(Exit::Ok)
}

/// Takes a mnemonic of another wallet.
pub(super) fn import(args: &ImportArgs) -> Result<Exit> {
    let ImportArgs { name, mnemonic_file, path, kept } = args;
    let (wallets, path) = (wallets(kept)?, key_path(*path)?);
    wallets.check_free(name)?;
    let mnemonic = secrets::mnemonic(mnemonic_file.as_deref())?;
    let passphrase = passphrase(kept.passphrase_file.as_deref(), Purpose::Seal)?;
    let keystore = Keystore::seal(&mnemonic, path, &passphrase, COST, &fresh()?)?;
    let file = wallets.keep(name, &keystore)?;
    match kept.json {
        true => say!(
            "{}",
            json!({
                "event": "imported", "name": name, "address": keystore.address(), "path": keystore.path(), "file": file,
            })
        ),
        false => say!("{name}  {}  {}", keystore.address(), keystore.path()),
    }
    Ok(Exit::Ok)
}

/// Lists what is kept; no passphrase is needed, since addresses are no secret.
pub(super) fn show(args: &ShowArgs) -> Result<Exit> {
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let wallets = Wallets::of(&data_dir);
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => wallets.names()?,
    };
    let mut exit = Exit::Ok;
    for name in &names {
        match wallets.read(name) {
            Ok(keystore) if args.json => {
                let (address, path) = (keystore.address(), keystore.path());
                say!("{}", json!({ "event": "wallet", "name": name, "address": address, "path": path }));
            }
            Ok(keystore) => say!("{name}  {}  {}", keystore.address(), keystore.path()),
            // the others are shown all the same
            Err(error) => {
                eprintln!("r3mes-wgpu: {error:#}");
                exit = Exit::Failure;
            }
        }
    }
    if args.name.is_none()
        && let Some(key) = session::made(&data_dir)?
    {
        match args.json {
            true => say!("{}", json!({ "event": "session", "address": key.address() })),
            false => say!("(this machine's session key)  {}", key.address()),
        }
    }
    if args.name.is_none() && names.is_empty() {
        eprintln!("no wallets yet: `wallet new` makes one, `wallet import` takes a mnemonic");
    }
    Ok(exit)
}

/// Says the operator's address.
pub(super) fn operator(args: &OperatorArgs) -> Result<Exit> {
    let secret = session::operator_secret(&paths::data_dir(args.data_dir.clone())?)?;
    let key = SessionKey::new(&secret)?;
    match args.json {
        true => say!("{}", json!({ "event": "operator", "address": key.address() })),
        false => say!("{}", key.address()),
    }
    Ok(Exit::Ok)
}

/// Shows the mnemonic on the terminal, and has one of its words repeated.
fn confirm(mnemonic: &Mnemonic) -> Result<()> {
    eprintln!("Write these words down, in order. Whoever has them has the coins; they are shown only now.\n");
    for (at, word) in mnemonic.words().enumerate() {
        eprint!("{:>3} {word:<10}{}", at + 1, if at % 4 == 3 { "\n" } else { "" });
    }
    eprintln!();
    let mut random = [0; 8];
    getrandom::fill(&mut random).context("asking the system for random bytes")?;
    let at = (u64::from_le_bytes(random) % mnemonic.words().count() as u64) as usize;
    let word = mnemonic.words().nth(at).unwrap_or_default();
    for _ in 0..ATTEMPTS {
        if repeated(&format!("Word {} again: ", at + 1), word)? {
            return Ok(());
        }
        eprintln!("that is another word");
    }
    bail!("the mnemonic was not repeated, so nothing is kept")
}

fn wallets(kept: &KeptArgs) -> Result<Wallets> {
    Ok(Wallets::of(&paths::data_dir(kept.data_dir.clone())?))
}

fn key_path(PathArgs { coin_type, account, index }: PathArgs) -> Result<KeyPath> {
    Ok(KeyPath::new(coin_type, account, index)?)
}

fn fresh() -> Result<Fresh> {
    let mut fresh = Fresh { salt: Default::default(), nonce: Default::default() };
    getrandom::fill(&mut fresh.salt)
        .and_then(|()| getrandom::fill(&mut fresh.nonce))
        .context("asking the system for random bytes")?;
    Ok(fresh)
}
