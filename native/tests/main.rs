//! Integration tests of the program `r3mes-wgpu`. Each test starts the program in separate processes. All tests are in
//! one test binary, so that only one binary must be linked.

#![allow(unreachable_pub, reason = "nothing outside this test binary can reach its items")]

// shared by the tests
mod faulty_proxy;
mod forger;
mod node_process;
mod replicas;
mod scripted_miner;
mod work_dir;

// tests of single commands
mod adapter;
mod cli;
mod import;
mod import_files;
mod out_of_range;
mod verifier;
mod wallet;

// tests of a node, and of clients with one or several nodes
mod clients;
mod node;
mod nodes;
mod page;
mod requests;
mod sessions;
mod stores;
mod strangers;
mod surroundings;

// tests with miners and verifiers that break the rules
mod adversaries;
mod attacks;
mod disputes;

// tests with Kubo and CometBFT, which scripts/interop starts
mod cometbft;
mod kubo;
