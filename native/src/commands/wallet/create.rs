//! The commands `wallet new`, `wallet import`, `wallet show` and `wallet operator`, which need no connection to a node.

use super::flags::WalletStoreArgs;
use crate::{
    output::{Exit, note, say},
    paths,
    wallet::{
        keystore::{COST, Keystore, SaltAndNonce},
        machine_keys,
        secrets::{self, Purpose, confirm_word, passphrase},
        store::WalletStore,
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use r3mes_wgpu::tx::{COIN_TYPE, KeyPath, MNEMONIC_WORDS, Mnemonic, SessionKey};
use serde_json::json;
use std::{
    io::{IsTerminal, stderr, stdin},
    path::PathBuf,
};
use zeroize::Zeroizing;

/// The maximum number of times that the user is asked for a word of the new mnemonic. A right answer shows that the
/// user has written the words down.
const ATTEMPTS: usize = 3;

/// Flags that set the variable parts of the key's derivation path, `m/44'/coin'/account'/0/index`.
#[derive(Args, Clone, Copy)]
struct KeyPathArgs {
    /// Set the coin type in the key's derivation path, m/44'/COIN_TYPE'/ACCOUNT'/0/INDEX
    #[arg(long, default_value_t = COIN_TYPE)]
    coin_type: u32,
    /// Set the account number in the key's derivation path
    #[arg(long, default_value_t = 0)]
    account: u32,
    /// Set the address index in the key's derivation path
    #[arg(long, default_value_t = 0)]
    index: u32,
}

#[derive(Args)]
pub(crate) struct WalletNewArgs {
    /// Name of the new wallet
    #[arg(default_value = "default")]
    name: String,
    /// Create a mnemonic of this many words: 12, 15, 18, 21 or 24
    #[arg(long, default_value_t = 24, value_parser = words)]
    words: usize,
    /// Print the mnemonic on stdout instead of showing it on the terminal and asking for one of its words
    #[arg(long)]
    print_mnemonic: bool,
    #[command(flatten)]
    path: KeyPathArgs,
    #[command(flatten)]
    kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct WalletImportArgs {
    /// Name under which the wallet is saved
    #[arg(default_value = "default")]
    name: String,
    /// Read the mnemonic from this file [default: the terminal, or stdin if it is not a terminal]
    #[arg(long, value_name = "FILE")]
    mnemonic_file: Option<PathBuf>,
    #[command(flatten)]
    path: KeyPathArgs,
    #[command(flatten)]
    kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct WalletShowArgs {
    /// List only this wallet
    name: Option<String>,
    /// Look for wallets in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct WalletOperatorArgs {
    /// Keep the operator key in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Creates a wallet from a new random mnemonic. Shows the mnemonic once, and saves it encrypted with a passphrase.
pub(super) fn new(args: &WalletNewArgs) -> Result<Exit> {
    let WalletNewArgs { name, words, print_mnemonic, path, kept } = args;
    let (wallets, path) = (wallets(kept)?, key_path(*path)?);
    wallets.check_free(name)?;
    ensure!(
        *print_mnemonic || (stdin().is_terminal() && stderr().is_terminal()),
        "no terminal to show the mnemonic on; pass --print-mnemonic to print it on stdout"
    );
    let passphrase = passphrase(kept.passphrase_file.as_deref(), Purpose::Seal)?;
    let mut entropy = Zeroizing::new(vec![0; words / 3 * 4]);
    getrandom::fill(&mut entropy).context("getting random bytes from the operating system")?;
    let mnemonic = Mnemonic::from_entropy(&entropy)?;
    if !print_mnemonic {
        confirm(&mnemonic)?;
    }
    let keystore = Keystore::seal(&mnemonic, path, &passphrase, COST, &random()?)?;
    let file = wallets.keep(name, &keystore)?;
    let text = Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" "));
    if kept.json {
        let mut object = json!({
            "event": "made", "name": name, "address": keystore.address(), "path": keystore.path(), "file": file,
        });
        if *print_mnemonic {
            object["mnemonic"] = json!(*text);
        }
        say!("{object}");
    } else {
        say!("{name}  {}  {}", keystore.address(), keystore.path());
        if *print_mnemonic {
            say!("{}", *text);
        }
    }
    note!("Saved the wallet in {}. Only its passphrase or its mnemonic gives access to its coins.", file.display());
    Ok(Exit::Ok)
}

/// Restores a wallet from its mnemonic, and saves the mnemonic encrypted with a passphrase.
pub(super) fn import(args: &WalletImportArgs) -> Result<Exit> {
    let WalletImportArgs { name, mnemonic_file, path, kept } = args;
    let (wallets, path) = (wallets(kept)?, key_path(*path)?);
    wallets.check_free(name)?;
    let mnemonic = secrets::mnemonic(mnemonic_file.as_deref())?;
    let passphrase = passphrase(kept.passphrase_file.as_deref(), Purpose::Seal)?;
    let keystore = Keystore::seal(&mnemonic, path, &passphrase, COST, &random()?)?;
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

/// Lists the wallets with their addresses. No passphrase is needed, because addresses are not encrypted.
pub(super) fn show(args: &WalletShowArgs) -> Result<Exit> {
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let wallets = WalletStore::of(&data_dir);
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
            // the other wallets are listed nevertheless
            Err(error) => {
                note!("r3mes-wgpu: {error:#}");
                exit = Exit::Failure;
            }
        }
    }
    if args.name.is_none()
        && let Some(key) = machine_keys::existing_session_key(&data_dir)?
    {
        match args.json {
            true => say!("{}", json!({ "event": "session", "address": key.address() })),
            false => say!("(this machine's session key)  {}", key.address()),
        }
    }
    if args.name.is_none() && names.is_empty() {
        note!("There are no wallets. `wallet new` creates one; `wallet import` restores one from its mnemonic.");
    }
    Ok(exit)
}

/// Prints the address of this machine's operator key, with which its node and its verifier sign. Creates the key if it
/// does not exist.
pub(super) fn operator(args: &WalletOperatorArgs) -> Result<Exit> {
    let secret = machine_keys::operator_secret(&paths::data_dir(args.data_dir.clone())?)?;
    let key = SessionKey::new(&secret)?;
    match args.json {
        true => say!("{}", json!({ "event": "operator", "address": key.address() })),
        false => say!("{}", key.address()),
    }
    Ok(Exit::Ok)
}

/// Shows a new mnemonic on the terminal, and asks the user to repeat one of its words, to make sure that the user has
/// written it down.
fn confirm(mnemonic: &Mnemonic) -> Result<()> {
    note!("Write these words down, in order. Whoever has them controls the coins. They are shown only once.\n");
    for (at, word) in mnemonic.words().enumerate() {
        eprint!("{:>3} {word:<10}{}", at + 1, if at % 4 == 3 { "\n" } else { "" });
    }
    note!("");
    let mut random = [0; 8];
    getrandom::fill(&mut random).context("getting random bytes from the operating system")?;
    let at = (u64::from_le_bytes(random) % mnemonic.words().count() as u64) as usize;
    let word = mnemonic.words().nth(at).unwrap_or_default();
    for _ in 0..ATTEMPTS {
        if confirm_word(&format!("Repeat word {}: ", at + 1), word)? {
            return Ok(());
        }
        note!("That is not the word at this position.");
    }
    bail!(
        "the requested word of the mnemonic was not repeated correctly, so the wallet was not saved; run the command again"
    )
}

fn wallets(args: &WalletStoreArgs) -> Result<WalletStore> {
    Ok(WalletStore::of(&paths::data_dir(args.data_dir.clone())?))
}

fn key_path(KeyPathArgs { coin_type, account, index }: KeyPathArgs) -> Result<KeyPath> {
    Ok(KeyPath::new(coin_type, account, index)?)
}

/// Returns a random salt and a random nonce for encrypting a mnemonic.
fn random() -> Result<SaltAndNonce> {
    let mut random = SaltAndNonce { salt: Default::default(), nonce: Default::default() };
    getrandom::fill(&mut random.salt)
        .and_then(|()| getrandom::fill(&mut random.nonce))
        .context("getting random bytes from the operating system")?;
    Ok(random)
}

/// Parses the value of `--words`, the length of a mnemonic. Accepts only 12, 15, 18, 21 and 24.
fn words(text: &str) -> Result<usize, String> {
    let known = MNEMONIC_WORDS.into_iter().find(|words| words.to_string() == text);
    known.ok_or_else(|| format!("the number of words of a mnemonic must be one of {MNEMONIC_WORDS:?}"))
}
