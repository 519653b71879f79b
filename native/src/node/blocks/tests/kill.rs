//! `kill -9`, for real: a child process fills a store and is killed again and again.

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
    let root = over(&leaves);
    leaves.into_iter().chain([root]).collect()
}

/// The child: run by [`nothing_acknowledged_is_lost`], otherwise it does nothing.
#[test]
#[ignore = "the child process of another test"]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = BlockStore::open(path.as_ref(), AMPLE).unwrap();
    let first = store.kept().unwrap().len() as u64;
    for number in first..first + 1000 {
        store.put(&numbered(number)).unwrap();
        store.keep_only((0..=number).map(|number| numbered(number)[3].cid())).unwrap();
        println!("kept {number}");
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let folder = std::env::temp_dir().join(format!("r3mes-blocks-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("blocks.redb");
    let mut told = 0;
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blocks::tests::kill::child", "--ignored", "--nocapture"])
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
        // libtest's own words may stand before ours on a line
        let kept = |line: &String| line.split_once("kept ")?.1.parse::<u64>().ok();
        told = reader.join().unwrap().iter().filter_map(kept).map(|number| number + 1).max().unwrap_or(told).max(told);
        let store = BlockStore::open(&path, AMPLE).unwrap();
        let kept = store.kept().unwrap().len() as u64;
        assert!(kept >= told, "{kept} kept, {told} told");
        store.collect(u64::MAX).unwrap();
        for block in (0..kept).flat_map(numbered) {
            assert_eq!(store.get(&block.cid()).as_deref(), Ok(block.bytes()));
        }
        let usage = store.usage().unwrap();
        assert_eq!((usage.blocks, usage.loose_bytes), (4 * kept, 0), "no half of anything");
    }
    assert!(told > 0, "no child came to anything");
    std::fs::remove_dir_all(&folder).unwrap();
}
