//! The results that `README.md` states: each scenario has a row there, with the number of its states and what is violated.

/// What the row of a scenario says.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// How many states each model of the scenario has.
    pub states: Vec<usize>,
    /// The properties that are violated.
    pub violated: Vec<String>,
}

/// The cells of each row of a table, and whether it is the first one.
fn rows(document: &str) -> impl Iterator<Item = (bool, Vec<&str>)> {
    let mut is_in_table = false;
    document.lines().filter_map(move |line| {
        let cells = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let is_first = cells.is_some() && !is_in_table;
        is_in_table = cells.is_some();
        Some((is_first, cells?.split('|').map(str::trim).collect()))
    })
}

/// The property with this label.
fn property(document: &str, label: &str) -> String {
    let found: Vec<_> = rows(document).filter(|(is_first, cells)| !is_first && cells[0] == label).collect();
    let [(_, cells)] = &found[..] else { panic!("models/README.md has no property {label}, or several") };
    cells[1].to_owned()
}

/// The row of a scenario, such as `bound_message::as_built_everything_holds`.
///
/// # Panics
///
/// If there is none, or one that cannot be read.
pub fn row(document: &str, scenario: &str) -> Row {
    let mut labels = Vec::new();
    let mut found = Vec::new();
    for (is_first, cells) in rows(document) {
        if is_first {
            labels = cells;
        } else if cells[0] == format!("`{scenario}`") {
            found.push((labels.clone(), cells));
        }
    }
    let [(labels, cells)] = &found[..] else { panic!("models/README.md has no row of {scenario}, or several") };
    assert_eq!((cells.len(), labels[..2].concat()), (labels.len(), "scenariostates".to_owned()), "{scenario}");
    let states = cells[1].split(", ").map(|count| count.replace(',', "").parse().expect("a number of states"));
    let is_violated = |cell: &&str| match *cell {
        "holds" => false,
        "**violated**" => true,
        other => panic!("{scenario}: {other}"),
    };
    let results = labels.iter().zip(cells).skip(2).filter(|(_, cell)| is_violated(cell));
    Row { states: states.collect(), violated: results.map(|(label, _)| property(document, label)).collect() }
}

#[cfg(test)]
mod tests {
    use super::{Row, row};

    const DOCUMENT: &str = "\
| label | property |
|---|---|
| once | nothing is processed twice |
| fresh | evidence is fresh |

| scenario | states | once | fresh |
|---|---|---|---|
| `form::first` | 12, 1,345 | holds | **violated** |
| `form::second` | 7 | holds | maybe |
";

    #[test]
    fn a_row_is_read() {
        let expected = Row { states: vec![12, 1345], violated: vec!["evidence is fresh".to_owned()] };
        assert_eq!(row(DOCUMENT, "form::first"), expected);
    }

    #[test]
    #[should_panic(expected = "models/README.md has no row of form::third, or several")]
    fn a_scenario_has_a_row() {
        row(DOCUMENT, "form::third");
    }

    #[test]
    #[should_panic(expected = "form::second: maybe")]
    fn a_result_is_one_of_two() {
        row(DOCUMENT, "form::second");
    }
}
