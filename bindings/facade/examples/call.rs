//! Carries out calls of [`blindbox_facade::call`] natively: what WebAssembly must return for the same arguments.
//!
//! Each line on standard input is the name of a function, a space, and its arguments; each line on standard output is what it returns.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (function, arguments) = line.split_once(' ').unwrap_or((&line, "{}"));
        writeln!(output, "{}", blindbox_facade::call(function, arguments.as_bytes()))?;
        output.flush()?;
    }
    Ok(())
}
