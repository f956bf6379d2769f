//! The parts of a page: headings, paragraphs, tables.

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block<'a> {
    /// With its level, 1 to 6.
    Heading(usize, &'a str),
    Paragraph(Vec<&'a str>),
    /// Rows of cells, all of the same length, the first one is the header.
    Table(Vec<Vec<&'a str>>),
}

/// The parts of a page in order; `tables` are looked for only by models of layout.
pub(super) fn blocks(lines: &[String], tables: bool) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut paragraph = Vec::new();
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        let table = if tables { table(rest) } else { None };
        if let Some((length, rows)) = table {
            close(&mut paragraph, &mut blocks);
            blocks.push(Block::Table(rows));
            rest = &rest[length..];
            continue;
        }
        rest = after;
        let line = line.trim();
        if line.is_empty() {
            close(&mut paragraph, &mut blocks);
        } else if let Some(heading) = heading(line) {
            close(&mut paragraph, &mut blocks);
            blocks.push(heading);
        } else {
            paragraph.push(line);
        }
    }
    close(&mut paragraph, &mut blocks);
    blocks
}

fn close<'a>(paragraph: &mut Vec<&'a str>, blocks: &mut Vec<Block<'a>>) {
    if !paragraph.is_empty() {
        blocks.push(Block::Paragraph(std::mem::take(paragraph)));
    }
}

fn heading(line: &str) -> Option<Block<'_>> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    let text = text.strip_prefix(' ')?.trim();
    ((1..=6).contains(&level) && !text.is_empty()).then_some(Block::Heading(level, text))
}

/// A table at the begin of the lines, and how many of them it takes.
fn table(lines: &[String]) -> Option<(usize, Vec<Vec<&str>>)> {
    let first = lines.first()?;
    // Prose has commas too: there must be more of them, and short cells.
    let separator = [('|', 2, 2), ('\t', 2, 2), (';', 3, 3), (',', 3, 3)]
        .into_iter()
        .find(|(separator, _, _)| first.contains(*separator));
    let (separator, least_columns, least_rows) = separator?;
    let columns = cells(first, separator).len();
    let short = |row: &[&str]| separator != ',' || row.iter().all(|cell| cell.len() <= 60);
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| cells(line, separator))
        .take_while(|row| row.len() == columns && short(row))
        .collect();
    let length = rows.len();
    let rows: Vec<_> = rows.into_iter().filter(|row| !is_rule(row)).collect();
    (columns >= least_columns && rows.len() >= least_rows).then_some((length, rows))
}

fn cells(line: &str, separator: char) -> Vec<&str> {
    let mut line = line.trim_end_matches(['\r', '\n']);
    if separator == '|' {
        line = line.trim();
        line = line.strip_prefix('|').unwrap_or(line);
        line = line.strip_suffix('|').unwrap_or(line);
    }
    line.split(separator)
        .map(|cell| cell.trim().trim_matches('"'))
        .collect()
}

/// The line of dashes under the header of a Markdown table.
fn is_rule(row: &[&str]) -> bool {
    let dashes = |cell: &&str| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':');
    row.iter().all(dashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn headings_paragraphs_and_tables_are_told_apart() {
        let lines = lines("# Title\nOne\ntwo\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\nThe end.");
        assert_eq!(
            blocks(&lines, true),
            [
                Block::Heading(1, "Title"),
                Block::Paragraph(vec!["One", "two"]),
                Block::Table(vec![vec!["a", "b"], vec!["1", "2"]]),
                Block::Paragraph(vec!["The end."]),
            ]
        );
        assert!(
            !blocks(&lines, false)
                .iter()
                .any(|b| matches!(b, Block::Table(_)))
        );
    }

    #[test]
    fn commas_in_prose_make_no_table() {
        let prose = lines("Dear Ann, Bob,\nthanks, again, and\nsee you, soon");
        assert_eq!(blocks(&prose, true).len(), 1);
        let table = lines("sku,name,price\n1,Bolt,2.50\n2,Nut,0.10");
        let [Block::Table(rows)] = &blocks(&table, true)[..] else {
            panic!("three rows of three cells are a table");
        };
        assert_eq!(rows[2], ["2", "Nut", "0.10"]);
    }
}
