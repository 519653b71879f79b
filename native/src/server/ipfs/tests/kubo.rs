//! Tests that the node and a real Kubo daemon return the same responses and import each other's CAR files.
//! `scripts/interop` starts the daemon.

use super::*;

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
