//! `kill -9`, for real: a child process mines into a file and is killed again and again.

use super::crash::*;
use super::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const FILE: &str = "R3MES_TEST_LEDGER";

/// The child: run by [`kill_nine_at_many_moments`], otherwise it does nothing.
#[test]
#[ignore = "the child process of another test"]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let node = Node::open(path.as_ref(), setup(QUOTA, CHUNKS), Sums).unwrap();
    mine_to_the_end(&node, |commitment, acceptance| {
        println!("accepted {commitment} {}", if acceptance.again { "again" } else { "new" });
    })
    .unwrap();
}

#[test]
fn kill_nine_at_many_moments() {
    let folder = std::env::temp_dir().join(format!("r3mes-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut kills_while_mining = 0;
    for life in 0..6u64 {
        let path = folder.join(format!("{life}.redb"));
        let (mut told, mut runs) = (BTreeSet::new(), 0);
        loop {
            let name = "node::tests::kill::child";
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--ignored", "--nocapture"])
                .env(FILE, &path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
            // on a slow machine the first moments are all within the start, so the window widens
            std::thread::sleep(Duration::from_millis((3 + (life * 7 + runs * 13) % 60) * (8 + runs) / 8));
            let finished = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            child.wait().unwrap();
            for line in reader.join().unwrap() {
                // libtest's own words may stand before ours on a line
                let Some((_, accepted)) = line.split_once("accepted ") else { continue };
                let (commitment, kind) = accepted.split_once(' ').unwrap_or((accepted, ""));
                assert!(kind != "new" || told.insert(commitment.to_owned()), "{commitment} counted twice");
            }
            if finished {
                break;
            }
            kills_while_mining += u64::from(!told.is_empty());
            runs += 1;
            assert!(runs < 200, "no progress");
        }
        let node = Node::open(&path, setup(QUOTA, CHUNKS), Sums).unwrap();
        assert_same_end(&node, &BTreeSet::new(), &format!("life {life}, {runs} kills"));
        let expected: BTreeSet<String> = undisturbed().1.iter().map(ToString::to_string).collect();
        assert!(told.is_subset(&expected));
    }
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{kills_while_mining} kills after the first acceptance");
}
