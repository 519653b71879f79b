//! Tests that acknowledged blocks survive power cuts. The tests simulate power cuts during many different storage
//! operations. A power cut keeps all synced bytes. Each unsynced write survives completely, partly or not at all.

use super::*;
use redb::StorageBackend;
use std::io::{Error, Result as IoResult};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct SimulatedDisk {
    /// The contents that a reader of the disk sees before the power cut. They include all writes, synced or not.
    seen: Vec<u8>,
    /// The bytes that are certain to survive a power cut.
    synced: Vec<u8>,
    /// The writes since the last sync, in order. Each is a pair: the offset in the file, and the bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// The number of operations that will still succeed before the power cut.
    left: u64,
    /// The number of operations so far, including those that failed.
    used: u64,
}

#[derive(Clone, Debug)]
struct PowerCutBackend(Arc<Mutex<SimulatedDisk>>);

impl PowerCutBackend {
    fn new(image: Vec<u8>, left: u64) -> Self {
        let synced = image.clone();
        Self(Arc::new(Mutex::new(SimulatedDisk { seen: image, synced, left, ..SimulatedDisk::default() })))
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut SimulatedDisk) -> T) -> IoResult<T> {
        let mut disk = self.0.lock().unwrap();
        disk.used += 1;
        disk.left = disk.left.checked_sub(1).ok_or_else(|| Error::other("simulated power cut"))?;
        Ok(operation(&mut disk))
    }

    /// Returns the contents of the disk after the power cut. `seed` is the seed of the pseudo-random choice of the
    /// unsynced bytes that survive.
    fn image(&self, seed: u64) -> Vec<u8> {
        let mut disk = self.0.lock().unwrap();
        let mut image = std::mem::take(&mut disk.synced);
        let mut state = seed;
        for (offset, bytes) in &disk.unsynced {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let landed = match state >> 62 {
                0 => 0,
                1 => (state >> 20) as usize % (bytes.len() + 1),
                _ => bytes.len(),
            };
            let end = (offset + landed).min(image.len());
            if *offset < end {
                image[*offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
        image
    }
}

impl StorageBackend for PowerCutBackend {
    fn len(&self) -> IoResult<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        let disk = self.0.lock().unwrap();
        let bytes = disk.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| Error::other("read beyond the end"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.operate(|disk| {
            disk.seen.resize(len as usize, 0);
            disk.synced.resize(len as usize, 0);
        })
    }

    fn sync_data(&self) -> IoResult<()> {
        self.operate(|disk| {
            for (offset, bytes) in std::mem::take(&mut disk.unsynced) {
                let end = (offset + bytes.len()).min(disk.synced.len());
                if offset < end {
                    disk.synced[offset..end].copy_from_slice(&bytes[..end - offset]);
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let offset = offset as usize;
        self.operate(|disk| {
            disk.seen[offset..offset + data.len()].copy_from_slice(data);
            disk.unsynced.push((offset, data.to_vec()));
        })
    }
}

fn open(disk: &PowerCutBackend) -> Result<Node> {
    node(RecoveringDatabase::once(Database::builder().create_with_backend(disk.clone())?))
}

fn operations_used(disk: &PowerCutBackend) -> u64 {
    disk.0.lock().unwrap().used
}

#[test]
fn acknowledged_blocks_survive_power_cuts_and_none_is_added_twice() {
    // this test starts with an empty database, because a new file has a temporary name until it is complete, so a power
    // cut during its creation leaves no ledger
    let fresh = PowerCutBackend::new(Vec::new(), u64::MAX);
    drop(Database::builder().create_with_backend(fresh.clone()).unwrap());
    let image = fresh.image(0);
    let whole = PowerCutBackend::new(image.clone(), u64::MAX);
    let node = open(&whole).unwrap();
    run(&node, |_, _| ()).unwrap();
    drop(node);
    let total = operations_used(&whole);
    let step = (total / 120).max(1);
    let (mut cuts, mut resumed) = (0, 0);
    for first_cut in (1..total).step_by(step as usize) {
        let (mut disk, mut attempt, mut acknowledged) = (PowerCutBackend::new(image.clone(), first_cut), 0, 0);
        loop {
            let context = format!("first cut at operation {first_cut}, cuts so far: {attempt}");
            let result = open(&disk).and_then(|node| {
                assert_intact(&node, acknowledged, &context);
                resumed += u64::from(acknowledged > 0 && attempt > 0);
                // a power cut may come after a block was written and before it was acknowledged
                acknowledged = node.ledger().state().head().height;
                run(&node, |height, root| {
                    assert_eq!(root, roots()[height as usize], "{context}");
                    acknowledged = height;
                })
            });
            if result.is_ok() {
                break;
            }
            // the second attempt is interrupted too, but the third is not
            attempt += 1;
            cuts += 1;
            let left = if attempt == 1 { 40 + first_cut % 97 } else { u64::MAX };
            assert!(attempt < 3, "first cut at operation {first_cut}: {:#}", result.unwrap_err());
            disk = PowerCutBackend::new(disk.image(first_cut + attempt), left);
        }
        assert_eq!(acknowledged, BLOCKS);
    }
    assert!(cuts > 150 && resumed > 60, "{cuts} power cuts, {resumed} resumed executions");
}

#[test]
fn a_node_goes_on_without_a_restart_after_errors_of_its_disk() {
    let fresh = PowerCutBackend::new(Vec::new(), u64::MAX);
    let recovering = |disk: &PowerCutBackend| {
        let disk = disk.clone();
        let open = move || Ok(Database::builder().create_with_backend(disk.clone())?);
        node(RecoveringDatabase::open(open).unwrap()).unwrap()
    };
    drop(recovering(&fresh));
    let image = fresh.image(0);
    let whole = PowerCutBackend::new(image.clone(), u64::MAX);
    run(&recovering(&whole), |_, _| ()).unwrap();
    let (mut errors, total) = (0, operations_used(&whole));
    for first in (1..total).step_by((total / 60).max(1) as usize) {
        let disk = PowerCutBackend::new(image.clone(), u64::MAX);
        let node = recovering(&disk);
        disk.0.lock().unwrap().left = first;
        for attempt in 0.. {
            let done = run(&node, |height, root| assert_eq!(root, roots()[height as usize], "error at {first}"));
            if done.is_ok() {
                break;
            }
            errors += 1;
            assert!(attempt < 3, "error at operation {first}: {:#}", done.unwrap_err());
            disk.0.lock().unwrap().left = u64::MAX;
        }
        assert_intact(&node, BLOCKS, "after an error");
        assert_eq!(node.fault(), None);
    }
    assert!(errors > 40, "{errors} errors");
}
