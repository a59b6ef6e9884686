//! Wraps tables to the width of the terminal.

use std::io::{self, IsTerminal};

/// Where the third column of an appraisal begins.
const DETAIL: usize = 41;

/// The least width that the third column is folded to; on a narrower terminal it has lines of its own.
const LEAST: usize = 20;

/// How far further lines stand in on such a terminal.
const INDENT: usize = 4;

/// The width of standard output, if it is a terminal.
pub fn of_stdout() -> Option<usize> {
    let is_terminal = io::stdout().is_terminal();
    is_terminal.then(|| usable(terminal_size::terminal_size_of(io::stdout()))).flatten()
}

/// The width of standard error, if it is a terminal.
pub fn of_stderr() -> Option<usize> {
    let is_terminal = io::stderr().is_terminal();
    is_terminal.then(|| usable(terminal_size::terminal_size_of(io::stderr()))).flatten()
}

fn usable(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > INDENT)
}

/// Breaks a line between words. Further lines are indented. A word that is too long for a line is left whole, so that it can be
/// copied: a URL, a path or a digest.
pub fn wrap(line: &str, width: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), 0_usize);
    for word in line.split(' ') {
        let length = word.chars().count();
        let end = column.saturating_add(1).saturating_add(length);
        if wrapped.is_empty() {
            column = length;
        } else if end <= width {
            wrapped.push(' ');
            column = end;
        } else {
            new_line(INDENT, &mut wrapped);
            column = INDENT.saturating_add(length);
        }
        wrapped.push_str(word);
    }
    wrapped
}

/// Breaks lines that are too long between words, and words that are too long for a line. What follows stands below the column
/// that it belongs to. Nothing is left out.
pub fn fold(table: &str, width: usize) -> String {
    let indent = if width >= DETAIL.saturating_add(LEAST) { DETAIL } else { INDENT };
    let mut folded = String::new();
    for line in table.lines() {
        fold_line(line, width, indent, &mut folded);
        folded.push('\n');
    }
    folded
}

fn fold_line(line: &str, width: usize, indent: usize, folded: &mut String) {
    let mut column: usize = 0;
    for part in line.split_inclusive(' ') {
        let length = part.trim_end().chars().count();
        let fits = column.saturating_add(length) <= width;
        if !fits && column > indent {
            new_line(indent, folded);
            column = indent;
        }
        for character in part.chars() {
            if column >= width {
                // A space at the end of a line is not needed on the next.
                if character == ' ' {
                    continue;
                }
                new_line(indent, folded);
                column = indent;
            }
            folded.push(character);
            column = column.saturating_add(1);
        }
    }
}

fn new_line(indent: usize, folded: &mut String) {
    let end = folded.trim_end_matches(' ').len();
    folded.truncate(end);
    folded.push('\n');
    folded.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "passed         freshness                 made for our nonce\n\
                         not evaluated  server name               goes by the attested key alone (proves what runs)\n\
                         passed         maa policy hash           0123456789012345678901234567890123456789012345\n";

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(fold(TABLE, 200), TABLE);
    }

    #[test]
    fn details_stand_below_details() {
        let expected = "passed         freshness                 made for our nonce\n\
             not evaluated  server name               goes by the attested\n\
             \x20                                        key alone (proves\n\
             \x20                                        what runs)\n\
             passed         maa policy hash           01234567890123456789\n\
             \x20                                        01234567890123456789\n\
             \x20                                        012345\n";
        assert_eq!(fold(TABLE, 61), expected);
    }

    #[test]
    fn lines_of_errors_are_broken_between_words_only() {
        let line = "error[maa-unreachable]: the key set of https://a.very.long.name.example/ cannot be fetched";
        let expected =
            "error[maa-unreachable]: the key\n    set of\n    https://a.very.long.name.example/\n    cannot be fetched";
        assert_eq!(wrap(line, 31), expected);
        assert_eq!(wrap(line, 200), line);
        assert_eq!(wrap("", 31), "");
    }

    #[test]
    fn nothing_is_left_out_or_too_long() {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        for width in 5..100 {
            let folded = fold(TABLE, width);
            assert_eq!(words(&folded), words(TABLE), "{width}");
            assert!(folded.lines().all(|line| line.chars().count() <= width), "{width}: {folded}");
        }
    }
}
