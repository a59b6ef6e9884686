//! An agent on loopback, with everything around it emulated.

mod accepted;
mod azure_vm;
mod bounds;
mod client;
mod forwarding;
mod front_end;
mod keys;
mod lab;
mod messages;
mod outer;
mod process;
mod refusals;
mod sealing;
mod settings;
