//! What holds of the repository as a whole: layers of the source, documents, words, and what the package contains.

mod architecture;
// It reads the tables of the emulator.
#[cfg(feature = "emulator")]
mod docs;
#[cfg(feature = "emulator")]
mod knobs;
mod package;
mod version;
mod waiting;
mod width;
mod words;
