//! Tests that acknowledged blocks survive `kill -9`. A child process adds blocks to a ledger file, and is killed and
//! started again until all blocks are added.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const FOLDER: &str = "R3MES_TEST_LEDGER";

/// Adds blocks. The test [`acknowledged_blocks_survive_kill_nine`] runs this function in a child process. If the
/// function was started in any other way, it does nothing.
#[test]
#[ignore = "the child process of another test"]
fn adding_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let node = Node::open(folder.as_ref(), setup(5), 0).unwrap();
    run(&node, |height, _| println!("added {height} ")).unwrap();
}

#[test]
fn acknowledged_blocks_survive_kill_nine() {
    let root = std::env::temp_dir().join(format!("r3mes-kill-{}", std::process::id()));
    let mut kills_while_adding = 0;
    for life in 0..6u64 {
        let folder = root.join(life.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let (mut acknowledged, mut runs) = (0, 0);
        loop {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "node::tests::kill::adding_child", "--ignored", "--nocapture"])
                .env(FOLDER, &folder)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
            // on a slow machine the first kills all hit the start of the process, so the waiting time grows with each
            // run
            std::thread::sleep(Duration::from_millis((3 + (life * 7 + runs * 13) % 60) * (8 + runs) / 8));
            let finished = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            child.wait().unwrap();
            for line in reader.join().unwrap() {
                // libtest may print its own output on the same line, before the child's
                let Some((_, height)) = line.split_once("added ") else { continue };
                let Some(height) = height.split(' ').next().and_then(|height| height.parse::<u64>().ok()) else {
                    continue;
                };
                assert!(height > acknowledged, "block {height} was added twice");
                acknowledged = height;
            }
            if finished {
                break;
            }
            kills_while_adding += u64::from(acknowledged > 0);
            runs += 1;
            assert!(runs < 200, "life {life}: not finished after {runs} kills");
        }
        let node = Node::open(&folder, setup(5), 0).unwrap();
        assert_intact(&node, BLOCKS, &format!("life {life}, after {runs} kills"));
    }
    std::fs::remove_dir_all(&root).unwrap();
    println!("{kills_while_adding} kills happened after the first block");
}
