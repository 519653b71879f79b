//! Tests that acknowledged blocks survive `kill -9`: a child process fills a store and is killed repeatedly, and
//! afterwards every acknowledged block must be in the store.

use super::*;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

const FILE: &str = "R3MES_TEST_BLOCKS";

fn numbered(number: u64) -> Vec<Block> {
    let leaves: Vec<Block> =
        (0..3u64).map(|leaf| Block::new(Codec::Raw, (4 * number + leaf).to_le_bytes().repeat(50)).unwrap()).collect();
    let root = manifest(&leaves);
    leaves.into_iter().chain([root]).collect()
}

/// Fills a store until this process is killed. The test [`acknowledged_blocks_survive_kill_nine`] runs this function in
/// a child process. Without the environment variable that the test sets, the function does nothing.
#[test]
#[ignore = "runs only as the child process of another test"]
fn filling_child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = BlockStore::open(path.as_ref(), AMPLE).unwrap();
    let first = store.system_pins().unwrap().len() as u64;
    for number in first..first + 1000 {
        store.put(&numbered(number)).unwrap();
        store.replace_system_pins((0..=number).map(|number| numbered(number)[3].cid())).unwrap();
        println!("kept {number}");
    }
}

#[test]
fn acknowledged_blocks_survive_kill_nine() {
    let folder = std::env::temp_dir().join(format!("r3mes-blocks-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("blocks.redb");
    let mut acknowledged = 0;
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blocks::tests::kill::filling_child", "--ignored", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(5 + kill * 37 % 180));
        child.kill().unwrap();
        child.wait().unwrap();
        // libtest may print its own output on the same line, before the child's
        let kept = |line: &String| line.split_once("kept ")?.1.parse::<u64>().ok();
        let told = reader.join().unwrap().iter().filter_map(kept).map(|number| number + 1).max().unwrap_or(0);
        acknowledged = told.max(acknowledged);
        let store = BlockStore::open(&path, AMPLE).unwrap();
        let kept = store.system_pins().unwrap().len() as u64;
        assert!(kept >= acknowledged, "{kept} pins in the store, {acknowledged} pins acknowledged");
        store.collect(u64::MAX).unwrap();
        for block in (0..kept).flat_map(numbered) {
            assert_eq!(store.get(&block.cid()).as_deref(), Ok(block.bytes()));
        }
        let usage = store.usage().unwrap();
        assert_eq!((usage.blocks, usage.unpinned_bytes), (4 * kept, 0), "a partial change is in the store");
    }
    assert!(acknowledged > 0, "no child process acknowledged a block");
    std::fs::remove_dir_all(&folder).unwrap();
}
