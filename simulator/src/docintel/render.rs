//! The content of a result: one text of all pages, and where its parts are in it.

use super::{
    blocks::{Block, blocks},
    source::Sheet,
    spans::Piece,
};

/// The content, and its parts in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) content: String,
    pub(super) pages: Vec<Page>,
    pub(super) paragraphs: Vec<Paragraph>,
    pub(super) tables: Vec<Table>,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) number: usize,
    pub(super) piece: Piece,
    pub(super) lines: Vec<Line>,
    pub(super) grid: Grid,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) piece: Piece,
    pub(super) area: Area,
    pub(super) words: Vec<(Piece, Area)>,
}

#[derive(Debug)]
pub(super) struct Paragraph {
    /// Index of its page.
    pub(super) page: usize,
    pub(super) piece: Piece,
    pub(super) area: Area,
    pub(super) role: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Table {
    /// Index of its page.
    pub(super) page: usize,
    pub(super) piece: Piece,
    pub(super) area: Area,
    pub(super) columns: usize,
    /// Indices of the cells' paragraphs.
    pub(super) rows: Vec<Vec<usize>>,
}

/// Rows and columns of characters, of which a page has at least this many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A rectangle of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) column: usize,
    pub(super) columns: usize,
}

/// Puts the pages together.
pub(super) fn render(sheets: &[Sheet], markdown: bool, tables: bool) -> Rendered {
    let mut writer = Writer {
        rendered: Rendered::default(),
        markdown,
        row: 0,
    };
    for sheet in sheets {
        writer.page(sheet, tables);
    }
    writer.rendered
}

struct Writer {
    rendered: Rendered,
    markdown: bool,
    /// The next free row of the page.
    row: usize,
}

impl Writer {
    fn page(&mut self, sheet: &Sheet, tables: bool) {
        let content = &mut self.rendered.content;
        if !self.rendered.pages.is_empty() {
            *content += if self.markdown {
                "\n\n<!-- PageBreak -->\n\n"
            } else {
                "\n"
            };
        }
        let from = content.len();
        self.row = 0;
        self.rendered.pages.push(Page {
            number: sheet.number,
            piece: Piece { from, to: from },
            lines: Vec::new(),
            grid: Grid {
                rows: 60,
                columns: 80,
            },
        });
        for block in blocks(&sheet.lines, tables) {
            if self.rendered.content.len() > from {
                self.rendered.content += if self.markdown { "\n\n" } else { "\n" };
            }
            match block {
                Block::Heading(level, text) => self.heading(level, text),
                Block::Paragraph(lines) => self.paragraph(&lines),
                Block::Table(rows) => self.table(&rows),
            }
            // A blank line between the parts.
            self.row += 1;
        }
        let (to, row) = (self.rendered.content.len(), self.row);
        if let Some(page) = self.rendered.pages.last_mut() {
            page.piece.to = to;
            page.grid.rows = page.grid.rows.max(row);
            let ends = page
                .lines
                .iter()
                .map(|line| line.area.column + line.area.columns);
            page.grid.columns = ends.max().unwrap_or_default().max(page.grid.columns);
        }
    }

    fn heading(&mut self, level: usize, text: &str) {
        if self.markdown {
            self.rendered.content += &"#".repeat(level);
            self.rendered.content.push(' ');
        }
        let (piece, area) = self.line(text, 0);
        self.row += 1;
        let role = if level == 1 {
            "title"
        } else {
            "sectionHeading"
        };
        self.add_paragraph(piece, area, Some(role));
    }

    fn paragraph(&mut self, lines: &[&str]) {
        let (from, first_row) = (self.rendered.content.len(), self.row);
        let mut columns = 0;
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                self.rendered.content.push('\n');
            }
            let (_, area) = self.line(line, 0);
            columns = columns.max(area.columns);
            self.row += 1;
        }
        let piece = Piece {
            from,
            to: self.rendered.content.len(),
        };
        let area = Area {
            row: first_row,
            rows: lines.len(),
            column: 0,
            columns,
        };
        self.add_paragraph(piece, area, None);
    }

    fn table(&mut self, rows: &[Vec<&str>]) {
        let (from, first_row) = (self.rendered.content.len(), self.row);
        let columns = rows.first().map_or(0, Vec::len);
        let widest = rows.iter().flatten().map(|cell| cell.chars().count()).max();
        let width = widest.unwrap_or_default().max(80 / columns.max(1)) + 1;
        let mut cells = Vec::with_capacity(rows.len());
        self.tag("<table>\n");
        for (index, row) in rows.iter().enumerate() {
            self.tag("<tr>\n");
            let name = if index == 0 { "th" } else { "td" };
            let mut paragraphs = Vec::with_capacity(row.len());
            for (column, cell) in row.iter().enumerate() {
                // In plain text each cell is a line.
                if !self.markdown && (index, column) != (0, 0) {
                    self.rendered.content.push('\n');
                }
                self.tag(&format!("<{name}>"));
                let (piece, area) = self.line(cell, column * width);
                paragraphs.push(self.add_paragraph(piece, area, None));
                self.tag(&format!("</{name}>\n"));
            }
            self.tag("</tr>\n");
            cells.push(paragraphs);
            self.row += 1;
        }
        self.tag("</table>");
        let to = self.rendered.content.len();
        self.rendered.tables.push(Table {
            page: self.rendered.pages.len() - 1,
            piece: Piece { from, to },
            area: Area {
                row: first_row,
                rows: rows.len(),
                column: 0,
                columns: columns * width,
            },
            columns,
            rows: cells,
        });
    }

    fn tag(&mut self, tag: &str) {
        if self.markdown {
            self.rendered.content += tag;
        }
    }

    /// Writes a line at the current row; an empty one is no line of the page.
    fn line(&mut self, text: &str, column: usize) -> (Piece, Area) {
        let from = self.rendered.content.len();
        let area = |column, columns| Area {
            row: self.row,
            rows: 1,
            column,
            columns,
        };
        let mut words = Vec::new();
        let (mut at, mut across) = (from, column);
        for part in text.split_inclusive(char::is_whitespace) {
            let word = part.trim_end();
            if !word.is_empty() {
                let piece = Piece {
                    from: at,
                    to: at + word.len(),
                };
                words.push((piece, area(across, word.chars().count())));
            }
            at += part.len();
            across += part.chars().count();
        }
        let (piece, whole) = (Piece { from, to: at }, area(column, across - column));
        self.rendered.content += text;
        if !words.is_empty()
            && let Some(page) = self.rendered.pages.last_mut()
        {
            page.lines.push(Line {
                piece,
                area: whole,
                words,
            });
        }
        (piece, whole)
    }

    fn add_paragraph(&mut self, piece: Piece, area: Area, role: Option<&'static str>) -> usize {
        self.rendered.paragraphs.push(Paragraph {
            page: self.rendered.pages.len() - 1,
            piece,
            area,
            role,
        });
        self.rendered.paragraphs.len() - 1
    }
}
