//! The client over the network: fetching, connecting, requests, renewal and refusal, against the emulator on loopback; and
//! the emulator itself.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/fleet.rs"]
mod fleet;
#[path = "../common/lab.rs"]
mod lab;

mod azure_vm;
mod blocking;
mod bodies;
mod bound_connection;
mod certificates;
mod collateral;
mod concurrency;
mod connection;
mod crl;
#[cfg(unix)]
mod disk;
mod emulator;
mod errors;
mod faults;
mod fetch;
mod front_end;
mod maa_key;
mod managed;
mod message;
mod pool;
mod regressions;
mod relay;
mod renewal;
mod replicas;
mod requests;
mod service;
mod snp_guest;
mod streams;
mod tdx;
mod uploads;
mod validity;
mod verdicts;
