//! Integration tests of the program: each starts it in processes of its own. One binary, so that it is linked once.

#![allow(unreachable_pub, reason = "a binary, of which no item can be reached")]

// what the tests share
mod faulty_proxy;
mod forger;
mod node_process;
mod replicas;
mod scripted_miner;
mod work_dir;

// commands
mod adapter;
mod cli;
mod import;
mod verifier;
mod wallet;

// a node, and several of them
mod node;
mod nodes;
mod page;
mod requests;
mod sessions;
mod stores;

// those that break the rules
mod adversaries;
mod disputes;

// real peers, started by scripts/interop
mod cometbft;
mod kubo;
