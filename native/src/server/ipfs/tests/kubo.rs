//! Tests that the node and a real Kubo daemon return the same responses and import each other's CAR files.
//! `scripts/interop` starts the daemon.

use super::*;
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Returns the Kubo daemon whose RPC URL is in the environment variable `R3MES_KUBO`.
fn kubo() -> TestNode {
    let url = std::env::var("R3MES_KUBO").expect("R3MES_KUBO is the RPC URL of a Kubo daemon; scripts/interop sets it");
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    TestNode { url, agent, token: None }
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_and_this_node_import_each_others_cars() {
    let (kubo, ours) = (kubo(), owner(AMPLE));
    let file = numbered(3_000_001);
    let theirs = kubo.upload("add?cid-version=1&raw-leaves=true&pin=false", &[&file]).json();
    let result = ours.upload("add?cid-version=1&raw-leaves=true", &[&file]).json();
    assert_eq!(theirs, result, "name, CID and size");
    let root = result["Hash"].as_str().unwrap();
    let car = kubo.post(&format!("dag/export?arg={root}"));
    let fresh = owner(AMPLE);
    assert_eq!(fresh.upload("dag/import", &[&car.body]).json()["Root"]["PinErrorMsg"], "");
    assert_eq!(fresh.post(&format!("cat?arg={root}")).body, file);
    // the Kubo daemon does not have this DAG yet
    let other = numbered(1_000_003)[3..].to_vec();
    let root = ours.upload("add?cid-version=1", &[&other]).json()["Hash"].as_str().unwrap().to_owned();
    let car = ours.get(&format!("/ipfs/{root}?format=car"), &[]);
    let result = kubo.upload("dag/import?stats=true", &[&car.body]).text();
    let result: Value = serde_json::from_str(result.lines().next().unwrap()).unwrap();
    assert_eq!((result["Root"]["Cid"]["/"].as_str(), result["Root"]["PinErrorMsg"].as_str()), (Some(&*root), Some("")));
    assert_eq!(kubo.post(&format!("cat?arg={root}")).body, other);
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn responses_have_the_same_fields_as_those_of_kubo() {
    let (kubo, ours) = (kubo(), owner(AMPLE));
    let block = b"the same fields as kubo";
    let cid = Codec::Raw.cid(block);
    for command in ["block/put?cid-codec=raw&mhtype=sha2-256", "add?cid-version=1&raw-leaves=true"] {
        assert_eq!(kubo.upload(command, &[block]).json(), ours.upload(command, &[block]).json(), "{command}");
    }
    for command in ["block/get", "cat"] {
        let command = format!("{command}?arg={cid}");
        assert_eq!(kubo.post(&command).body, ours.post(&command).body, "{command}");
    }
    for command in ["block/stat", "pin/add", "pin/ls", "pin/rm"] {
        let command = format!("{command}?arg={cid}");
        assert_eq!(kubo.post(&command).json(), ours.post(&command).json(), "{command}");
    }
    let absent = Codec::Raw.cid(b"absent");
    let theirs = kubo.post(&format!("block/get?arg={absent}&offline=true")).json();
    assert_eq!(theirs["Type"], ours.post(&format!("block/get?arg={absent}")).json()["Type"]);
    for (command, fields) in [
        ("repo/stat", ["NumObjects", "RepoSize", "StorageMax"]),
        ("id", ["ID", "AgentVersion", "Protocols"]),
        ("version", ["Version", "Commit", "System"]),
    ] {
        let (theirs, own) = (kubo.post(command).json(), ours.post(command).json());
        assert!(fields.iter().all(|field| theirs.get(field).is_some() && own.get(field).is_some()), "{command}");
    }
}

/// Returns the paths of all CAR files in the folders that the environment variable `R3MES_CARS` lists, and in their
/// subfolders.
fn cars() -> Vec<PathBuf> {
    let folders = std::env::var_os("R3MES_CARS").expect("R3MES_CARS lists folders; scripts/interop sets it");
    let (mut folders, mut cars): (Vec<_>, Vec<_>) = (std::env::split_paths(&folders).collect(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "car") {
                cars.push(path);
            }
        }
    }
    cars.sort();
    cars
}

/// The answer of a node, either this node or Kubo, to the import of a CAR file.
#[derive(Debug)]
struct Import {
    /// The CID of each root, and whether the node has pinned it. A node cannot pin a root whose DAG is incomplete.
    roots: Vec<(String, bool)>,
    /// The number of blocks that the node has stored.
    stored: u64,
    /// The number of blocks that the node did not store, because it does not know their hash function. This node lists
    /// the first 100 of these blocks in its answer.
    skipped: u64,
}

/// Imports a CAR file and pins its roots. Returns `None` if the node reports an error in the file.
fn import(node: &TestNode, car: &[u8]) -> Option<Import> {
    let text = node.upload("dag/import?stats=true", &[car]).text();
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stored = lines.iter().find_map(|line| line["Stats"]["BlockCount"].as_u64())?;
    let skipped = lines.iter().filter(|line| line.get("Skipped").is_some()).count() as u64;
    let root = |line: &Value| Some((line["Root"]["Cid"]["/"].as_str()?.to_owned(), line["Root"]["PinErrorMsg"] == ""));
    // Kubo lists the roots in random order
    let roots = lines.iter().filter_map(root).collect::<BTreeSet<_>>().into_iter().collect();
    Some(Import { roots, stored, skipped })
}

/// Returns whether this node (`own`) has read a CAR file as Kubo did (`theirs`).
fn agree(theirs: &Option<Import>, own: &Option<Import>) -> bool {
    let (Some(theirs), Some(own)) = (theirs, own) else { return theirs.is_none() && own.is_none() };
    let roots_agree = own.roots.len() == theirs.roots.len()
        && own.roots.iter().zip(&theirs.roots).all(|(own, theirs)| {
            // in Kubo's store, blocks of other tests may complete a DAG
            own.0 == theirs.0 && (theirs.1 || !own.1)
        });
    roots_agree && (own.stored + own.skipped == theirs.stored || own.skipped == 100)
}

/// Returns what a node serves for a root: the file, if the root is one, the exported CAR file, and the root's block.
fn served(node: &TestNode, gateway: &TestNode, root: &str) -> [Option<Vec<u8>>; 3] {
    let body = |response: TestResponse| (response.status == 200).then_some(response.body);
    [
        body(node.post(&format!("cat?arg={root}"))),
        body(node.post(&format!("dag/export?arg={root}"))),
        body(gateway.get(&format!("/ipfs/{root}?format=raw"), &[])),
    ]
}

/// Tests that this node imports and serves CAR files as Kubo does. The CAR files are the test data of Kubo, of its
/// gateway and of the library go-car. They contain files and directories of UnixFS (also HAMT shards), blocks in
/// DAG-CBOR and DAG-JSON, incomplete DAGs, several roots, and hash functions other than SHA-256. Some are in version 1
/// of the CAR format and some in version 2, and some are damaged.
#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn car_files_of_other_implementations_are_read_as_by_kubo() {
    let (kubo, ours, cars) = (kubo(), owner(AMPLE), cars());
    let url = std::env::var("R3MES_KUBO_GATEWAY").expect("scripts/interop sets R3MES_KUBO_GATEWAY");
    let gateway = TestNode { url, agent: kubo.agent.clone(), token: None };
    let mut complete = 0;
    for path in &cars {
        let (car, name) = (fs::read(path).unwrap(), path.display());
        let (theirs, own) = (import(&kubo, &car), import(&ours, &car));
        assert!(agree(&theirs, &own), "{name}: Kubo imports {theirs:?}, and this node {own:?}");
        for (root, _) in own.into_iter().flat_map(|own| own.roots).filter(|(_, is_pinned)| *is_pinned) {
            complete += 1;
            let differs = served(&kubo, &gateway, &root) != served(&ours, &ours, &root);
            assert!(!differs, "{name}: Kubo and this node serve other bytes for {root}");
        }
    }
    assert!(cars.len() >= 30 && complete >= 20, "{} CAR files, {complete} complete DAGs", cars.len());
}
