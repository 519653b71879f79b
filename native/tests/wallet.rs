//! Tests that the command `wallet` stores and opens wallets, and that, over HTTP, it sends coins, grants sessions and
//! revokes them.

use crate::node_process::NodeProcess;
use crate::work_dir::{WorkDir, accepted};
use r3mes_wgpu::tx::SessionKey;
use serde_json::Value;
use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

/// The reward for an accepted gradient, in micro-units.
const REWARD: u64 = 1_000_000;
/// The passphrase of the wallets. The tests pass it to the program in the environment variable `R3MES_PASSPHRASE`.
const PASSPHRASE: &str = "correct horse battery";
/// A mnemonic from which CosmJS derives the address [`ADDRESS`], according to `tests/data/cosmjs_addresses.tsv`.
const MNEMONIC: &str = "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling";
/// The address of the first account that is derived from [`MNEMONIC`].
const ADDRESS: &str = "remes1jhg0e7s6gn44tfc5k37kr04sznyhedtc6uec2k";

fn wallet(work_dir: &WorkDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.arg("wallet").args(args).arg("--data-dir").arg(work_dir.data()).stdin(Stdio::null());
    command.env("R3MES_PASSPHRASE", PASSPHRASE);
    command
}

/// Runs a command until it exits, with `text` as its stdin.
fn with_stdin(command: &mut Command, text: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Returns what the program wrote to stdout and stderr.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Checks that a command succeeded. Returns the JSON objects that it printed, one per line.
fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", said(output));
    output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Checks that a command exited with the code `code`, and that its stdout or stderr contains `words`.
fn assert_fails(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
}

/// Returns a working directory into which a wallet was imported from [`MNEMONIC`].
fn imported(name: &str) -> WorkDir {
    let work_dir = WorkDir::new(name);
    let output = with_stdin(&mut wallet(&work_dir, &["import", "--json"]), MNEMONIC);
    assert_eq!(lines(&output)[0]["address"], ADDRESS);
    work_dir
}

fn mine(work_dir: &WorkDir, url: &str, tasks: &str, args: &[&str]) -> Output {
    work_dir.mine_for(url, tasks).args(args).env("R3MES_PASSPHRASE", PASSPHRASE).output().unwrap()
}

#[test]
fn a_mnemonic_is_stored_once_and_never_shown() {
    let work_dir = imported("wallet-kept");
    let shown = lines(&wallet(&work_dir, &["show", "--json"]).output().unwrap());
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["name"], &shown[0]["address"]), (&"default".into(), &ADDRESS.into()));
    assert_eq!(shown[0]["path"], "m/44'/118'/0'/0/0");
    let dir = work_dir.data().join("wallets");
    let kept = fs::read_to_string(dir.join("default.json")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("default.json"))), (0o700, 0o600));
    }

    assert_fails(&with_stdin(&mut wallet(&work_dir, &["import"]), MNEMONIC), 1, "never overwritten");
    assert_fails(&wallet(&work_dir, &["new", "--print-mnemonic"]).output().unwrap(), 1, "never overwritten");
    assert_eq!(fs::read_to_string(dir.join("default.json")).unwrap(), kept);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file is left");

    let (words, secret) = (work_dir.data().join("words"), work_dir.data().join("secret"));
    fs::write(&words, format!("{}\n", MNEMONIC.to_uppercase())).unwrap();
    fs::write(&secret, format!("{PASSPHRASE}\r\n")).unwrap();
    let mut by_files = wallet(&work_dir, &["import", "second", "--index", "1", "--json"]);
    by_files.arg("--mnemonic-file").arg(&words).arg("--passphrase-file").arg(&secret).env_remove("R3MES_PASSPHRASE");
    assert_eq!(lines(&by_files.output().unwrap())[0]["address"], "remes1jc26t6dp59smtkf75e784dzwmgjlhkscj799te");

    let output = with_stdin(&mut wallet(&work_dir, &["import", "third"]), &MNEMONIC.replace("salute", "solute"));
    assert_fails(&output, 1, "word number 6 is not in BIP39's English list");
    assert!(!said(&output).contains("solute"), "{}", said(&output));
    assert_fails(
        &with_stdin(wallet(&work_dir, &["import", "third"]).env("R3MES_PASSPHRASE", "short"), MNEMONIC),
        1,
        "at least 8",
    );
    assert_fails(
        &with_stdin(wallet(&work_dir, &["import", "third"]).env_remove("R3MES_PASSPHRASE"), MNEMONIC),
        1,
        "no terminal",
    );
    assert_fails(&with_stdin(&mut wallet(&work_dir, &["import", "../third"]), MNEMONIC), 1, "a-z");
    assert_fails(&wallet(&work_dir, &["show", "third"]).output().unwrap(), 1, "there is no wallet third");
    for text in [&kept[..kept.len() / 2], ""] {
        fs::write(dir.join("cut.json"), text).unwrap();
        let output = wallet(&work_dir, &["show", "--json"]).output().unwrap();
        assert_fails(&output, 1, "cut.json: not a keystore");
        assert!(said(&output).contains(ADDRESS), "the other wallets are still shown");
    }
}

#[test]
fn a_new_mnemonic_restores_the_same_wallet() {
    let work_dir = WorkDir::new("wallet-new");
    assert_fails(&wallet(&work_dir, &["new"]).output().unwrap(), 1, "no terminal to show the mnemonic on");
    for (words, name) in [("12", "short"), ("24", "long")] {
        let output =
            wallet(&work_dir, &["new", name, "--words", words, "--print-mnemonic", "--json"]).output().unwrap();
        let made = &lines(&output)[0];
        let mnemonic = made["mnemonic"].as_str().unwrap();
        assert_eq!(mnemonic.split(' ').count().to_string(), words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains(mnemonic));
        let again = with_stdin(&mut wallet(&work_dir, &["import", &format!("{name}-again"), "--json"]), mnemonic);
        assert_eq!(lines(&again)[0]["address"], made["address"]);
    }
    assert_fails(&wallet(&work_dir, &["new", "other", "--words", "13"]).output().unwrap(), 2, "13");
}

/// Checks that a process that holds a secret cannot leave a core dump, and that the secret is not among its arguments.
#[cfg(target_os = "linux")]
#[test]
fn secrets_appear_in_no_core_dump_and_no_argument() {
    let work_dir = WorkDir::new("wallet-dump");
    let mut waiting = wallet(&work_dir, &["import"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", waiting.id())).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let refused = |limits: String| {
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default().to_owned();
        line.split_whitespace().skip(4).take(2).eq(["0", "0"])
    };
    while !refused(of("limits")) {
        assert!(std::time::Instant::now() < end, "{}", of("limits"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!of("cmdline").contains("special"));
    waiting.stdin.take().unwrap().write_all(MNEMONIC.as_bytes()).unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn sent_coins_arrive_and_their_total_is_preserved() {
    const FEE: u64 = 10;
    let (work_dir, home) = (WorkDir::new("wallet-node"), imported("wallet-send"));
    let node = NodeProcess::start(&work_dir);
    let to = SessionKey::new(&[3; 32]).unwrap();
    let send = |node: &NodeProcess, to: &str, amount: &str| {
        wallet(&home, &["send", to, amount, "--json", "--node", &node.url]).output().unwrap()
    };
    assert_fails(&send(&node, to.address(), "1"), 5, "spendable balance 0uremes is smaller than 1uremes");
    let output = mine(&home, &node.url, "2", &["--address", ADDRESS]);
    assert_eq!(accepted(&output.stdout).len(), 2, "{}", said(&output));
    let sent = &lines(&send(&node, to.address(), "300000uremes"))[0];
    assert_eq!((&sent["event"], &sent["balance"]), (&"sent".into(), &(2 * REWARD - 300_000).into()));
    assert_eq!((node.balance(ADDRESS), node.balance(to.address())), (2 * REWARD - 300_000, 300_000));
    let hash = sent["transaction"].as_str().unwrap();
    assert_eq!(node.get(&format!("/cosmos/tx/v1beta1/txs/{hash}"))["tx_response"]["code"], 0);

    let wrong = wallet(&home, &["send", to.address(), "1", "--node", &node.url])
        .env("R3MES_PASSPHRASE", "another passphrase")
        .output()
        .unwrap();
    assert_fails(&wrong, 1, "the passphrase is wrong, or the keystore file was changed");
    assert_fails(&send(&node, "cosmos1jhg0e7s6gn44tfc5k37kr04sznyhedtc9rzys5", "1"), 1, "not an address of this chain");
    assert_fails(&send(&node, to.address(), "0"), 1, "the amount must be greater than 0");
    assert_fails(&send(&node, to.address(), "1.5"), 2, "whole number");
    assert_fails(&send(&node, to.address(), "-1"), 2, "");
    drop(node);

    let node = NodeProcess::run(work_dir.node("0").args(["--min-fee", &FEE.to_string()]));
    let own = node.balance(ADDRESS);
    assert_fails(&send(&node, to.address(), &own.to_string()), 5, "insufficient funds");
    assert_eq!(node.balance(ADDRESS), own - FEE, "a failed transaction costs its fee");
    assert_eq!(lines(&send(&node, to.address(), "1000"))[0]["fee"], FEE);
    assert_eq!(node.balance(ADDRESS), own - 2 * FEE - 1000);
    let stats = node.get("/stats");
    let coins = node.balance(ADDRESS) + node.balance(to.address()) + stats["fees"].as_u64().unwrap();
    assert_eq!(coins, stats["accepted_total"].as_u64().unwrap() * REWARD);
}

#[test]
fn a_session_mines_for_the_wallet_that_granted_it_until_it_is_revoked() {
    const FEE: u64 = 1000;
    let (work_dir, home, rig) = (WorkDir::new("grant-node"), imported("grant-wallet"), WorkDir::new("grant-rig"));
    let node = NodeProcess::start(&work_dir);
    // another machine mines; it knows only the address of the account
    let output = mine(&rig, &node.url, "1", &["--granter", ADDRESS]);
    assert_fails(&output, 5, "granted");
    let shown = lines(&wallet(&rig, &["show", "--json"]).output().unwrap());
    assert_eq!(shown[0]["event"], "session");
    let session = shown[0]["address"].as_str().unwrap().to_owned();

    let run =
        |node: &NodeProcess, args: &[&str]| wallet(&home, args).args(["--json", "--node", &node.url]).output().unwrap();
    let grant =
        |node: &NodeProcess, cap: u64| run(node, &["grant", &session, "--cap", &cap.to_string(), "--expires", "10m"]);
    assert_fails(&run(&node, &["revoke", &session]), 1, "has granted nothing to");
    assert_eq!(lines(&grant(&node, 5 * FEE))[0]["granter"], ADDRESS);
    let output = mine(&rig, &node.url, "2", &["--granter", ADDRESS]);
    assert_eq!(accepted(&output.stdout).len(), 2, "{}", said(&output));
    assert_eq!((node.balance(ADDRESS), node.balance(&session)), (2 * REWARD, 0));
    drop(node);

    let node = NodeProcess::run(work_dir.node("0").args(["--min-fee", &FEE.to_string()]));
    let left = |node: &NodeProcess| {
        let found = node.get(&format!("/cosmos/feegrant/v1beta1/allowance/{ADDRESS}/{session}"));
        found["allowance"]["allowance"]["allowance"]["spend_limit"][0]["amount"].as_str().unwrap().to_owned()
    };
    assert_eq!(left(&node), (5 * FEE).to_string());
    lines(&grant(&node, 2 * FEE));
    assert_eq!(left(&node), (2 * FEE).to_string(), "a new grant replaces an existing one");
    let output = mine(&rig, &node.url, "3", &["--granter", ADDRESS]);
    assert_fails(&output, 5, "but the fee allowance from");
    assert_eq!(accepted(&output.stdout).len(), 1);
    assert_eq!((node.balance(ADDRESS), left(&node)), (3 * REWARD - 3 * FEE, "0".to_owned()));

    lines(&run(&node, &["revoke", &session]));
    assert_fails(&mine(&rig, &node.url, "1", &["--granter", ADDRESS]), 5, "granted");
    assert_fails(&run(&node, &["grant", ADDRESS, "--cap", "1", "--expires", "10m"]), 1, "the same account");
    assert_fails(&run(&node, &["grant", &session, "--cap", "1", "--expires", "10"]), 2, "600s");
}

/// Checks that every command and every route treats an address in upper case, which BIP 173 permits, like the same
/// address in lower case. An address in mixed case must be refused.
#[test]
fn an_address_in_upper_case_names_the_same_account() {
    let (work_dir, home, rig) = (WorkDir::new("upper-node"), imported("upper-wallet"), WorkDir::new("upper-rig"));
    let node = NodeProcess::start(&work_dir);
    let (upper, mixed) = (ADDRESS.to_uppercase(), ADDRESS.replacen('r', "R", 1));
    let output = mine(&rig, &node.url, "1", &["--address", &upper]);
    assert_eq!((accepted(&output.stdout).len(), node.balance(ADDRESS)), (1, REWARD), "{}", said(&output));
    assert_fails(&mine(&rig, &node.url, "1", &["--address", &mixed]), 1, "not an address of this chain");

    let run = |args: &[&str]| wallet(&home, args).args(["--json", "--node", &node.url]).output().unwrap();
    let to = SessionKey::new(&[3; 32]).unwrap();
    let sent = &lines(&run(&["send", &to.address().to_uppercase(), "1000"]))[0];
    assert_eq!((&sent["to"], node.balance(to.address())), (&to.address().into(), 1000));
    assert_fails(&run(&["send", &to.address().replacen('r', "R", 1), "1000"]), 1, "not an address of this chain");

    let shown = lines(&wallet(&rig, &["show", "--json"]).output().unwrap());
    let session = shown[0]["address"].as_str().unwrap().to_owned();
    let granted = &lines(&run(&["grant", &session.to_uppercase(), "--cap", "0", "--expires", "10m"]))[0];
    assert_eq!(granted["grantee"], session);
    let output = mine(&rig, &node.url, "1", &["--granter", &upper]);
    assert_eq!((accepted(&output.stdout).len(), node.balance(ADDRESS)), (1, 2 * REWARD - 1000), "{}", said(&output));

    let pair = |granter: &str| {
        [
            format!("/cosmos/feegrant/v1beta1/allowance/{granter}/{session}"),
            format!("/r3mes/wgpu/v1/sessions/{granter}/{session}"),
            format!("/cosmos/authz/v1beta1/grants?granter={granter}&grantee={session}"),
        ]
    };
    let paths = |address: &str| {
        let mut paths = [
            "/cosmos/auth/v1beta1/accounts/",
            "/cosmos/bank/v1beta1/balances/",
            "/remes/remes/v1/miner_score/",
            "/remes/remes/v1/miner_fraud_score/",
            "/r3mes/wgpu/v1/tasks/",
            "/r3mes/wgpu/v1/challenges/",
            "/r3mes/wgpu/v1/aggregations/",
        ]
        .map(|path| format!("{path}{address}"))
        .to_vec();
        paths.push(format!("/cosmos/bank/v1beta1/balances/{address}/by_denom?denom=uremes"));
        paths.extend(pair(address));
        paths
    };
    for ((lower, upper), mixed) in paths(ADDRESS).iter().zip(paths(&upper)).zip(paths(&mixed)) {
        assert_eq!(node.get(lower), node.get(&upper), "{upper}");
        assert_eq!(node.bytes(&mixed).0, 400, "{mixed}");
    }
    let registration = |address: &str| node.bytes(&format!("/remes/remes/v1/node_registration/{address}"));
    assert_eq!((registration(ADDRESS), registration(&mixed).0), (registration(&upper), 400));

    lines(&run(&["revoke", &session.to_uppercase()]));
    assert_fails(&mine(&rig, &node.url, "1", &["--granter", ADDRESS]), 5, "granted");
}

#[test]
fn a_wallet_can_mine_with_its_own_key() {
    let (work_dir, home) = (WorkDir::new("own-node"), imported("own-wallet"));
    let node = NodeProcess::start(&work_dir);
    let output = mine(&home, &node.url, "1", &["--wallet", "default"]);
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", said(&output));
    assert_eq!(node.balance(ADDRESS), REWARD);
    assert!(!home.data().join("session.key").exists(), "no session key is created");
    let grant = ["grant", "--cap", "1", "--expires", "10m", "--json", "--node", &node.url];
    let granted = &lines(&wallet(&home, &grant).output().unwrap())[0];
    let shown = lines(&wallet(&home, &["show", "--json"]).output().unwrap());
    assert_eq!(shown[1]["address"], granted["grantee"], "the default grantee is this machine's session key");
    let output = mine(&home, &node.url, "1", &["--granter", ADDRESS]);
    assert_eq!((accepted(&output.stdout).len(), node.balance(ADDRESS)), (1, 2 * REWARD), "{}", said(&output));
    assert_fails(&mine(&home, &node.url, "1", &["--wallet", "default", "--granter", ADDRESS]), 2, "cannot be used");
    assert_fails(&mine(&home, &node.url, "1", &["--wallet", "none"]), 1, "there is no wallet none");
}
