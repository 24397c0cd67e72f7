//! Reports on paper: text, tables and lines over as many A4 pages as it takes, as PDF.
//!
//! What lies where is worked out first ([`Sheets`], plain data), then written. The font lies in the program (Noto Sans,
//! OFL-1.1): a report looks the same wherever it was made. The same text gives the same bytes: no time of writing, no
//! chance is in them.

use std::sync::OnceLock;

use krilla::Document;
use krilla::geom::{PathBuilder, Point};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::MetadataProvider;
use skrifa::instance::{LocationRef, Size};

/// A4, points.
const PAGE: (f32, f32) = (595.0, 842.0);
const MARGIN: f32 = 48.0;
/// Room for the line at the foot of each page.
const FOOT: f32 = 36.0;
/// Height of a line, in sizes of its text.
const LEADING: f32 = 1.4;
const TABLE_SIZE: f32 = 8.0;
const CELL_PAD: f32 = 3.0;
/// Pages of a report at most: a year of days is about ten.
pub(crate) const PAGES_MAX: usize = 200;

/// Why there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// The font in the program cannot be read.
    #[error("the font cannot be read")]
    Font,
    /// The writer refuses.
    #[error("the pages cannot be written")]
    Write,
    /// More than [`PAGES_MAX`].
    #[error("too many pages")]
    TooLong,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// What lies on a page, from its upper left corner, points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mark {
    /// A line of text; `y` is its base.
    Text { x: f32, y: f32, size: f32, weight: Weight, text: String },
    /// A rule.
    Rule { x: f32, y: f32, to: f32 },
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    pub title: &'static str,
    /// Share of the width, of the sum of all.
    pub width: f32,
    /// Numbers stand to the right.
    pub is_number: bool,
}

/// A face of the font with what is needed to set it.
struct Face {
    font: Font,
    data: skrifa::FontRef<'static>,
    units: f32,
}

impl Face {
    fn of(bytes: &'static [u8]) -> Option<Self> {
        let data = skrifa::FontRef::new(bytes).ok()?;
        let font = Font::new(bytes.into(), 0)?;
        let units = f32::from(data.metrics(Size::unscaled(), LocationRef::default()).units_per_em);
        Some(Self { font, data, units })
    }

    /// The glyph of a character and its width in em; a character that the font has not is a question mark.
    fn glyph(&self, one: char) -> (u32, f32) {
        let map = self.data.charmap();
        let id = map.map(one).or_else(|| map.map('?')).unwrap_or_default();
        let width = self.data.glyph_metrics(Size::unscaled(), LocationRef::default()).advance_width(id);
        (id.to_u32(), width.unwrap_or(0.0) / self.units)
    }

    fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|one| self.glyph(one).1).sum::<f32>() * size
    }

    fn glyphs(&self, text: &str) -> Vec<KrillaGlyph> {
        let set = text.char_indices().map(|(at, one)| {
            let (id, width) = self.glyph(one);
            KrillaGlyph::new(GlyphId::new(id), width, 0.0, 0.0, 0.0, at..at + one.len_utf8(), None)
        });
        set.collect()
    }
}

struct Faces {
    regular: Face,
    bold: Face,
}

impl Faces {
    fn shared() -> Result<&'static Self, ReportError> {
        static FACES: OnceLock<Option<Faces>> = OnceLock::new();
        let make = || Some(Faces { regular: Face::of(notosans::REGULAR_TTF)?, bold: Face::of(notosans::BOLD_TTF)? });
        FACES.get_or_init(make).as_ref().ok_or(ReportError::Font)
    }

    fn of(&self, weight: Weight) -> &Face {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }
}

/// Pages as they fill.
pub(crate) struct Sheets {
    faces: &'static Faces,
    pages: Vec<Vec<Mark>>,
    /// Where the next line begins on the last page.
    y: f32,
}

impl Sheets {
    /// One empty page.
    pub fn new() -> Result<Self, ReportError> {
        Ok(Self { faces: Faces::shared()?, pages: vec![Vec::new()], y: MARGIN })
    }

    /// Pages so far.
    #[cfg(test)]
    pub fn pages(&self) -> &[Vec<Mark>] {
        &self.pages
    }

    fn width() -> f32 {
        PAGE.0 - 2.0 * MARGIN
    }

    fn page(&mut self) -> &mut Vec<Mark> {
        if self.pages.is_empty() {
            self.pages.push(Vec::new());
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    /// Begins a new page where there is not so much room on this one.
    fn room(&mut self, height: f32) -> bool {
        if self.y + height <= PAGE.1 - MARGIN - FOOT {
            return false;
        }
        self.pages.push(Vec::new());
        self.y = MARGIN;
        true
    }

    /// Words of a text in lines of a width; a word that is wider is cut.
    fn lines(&self, text: &str, width: f32, size: f32, weight: Weight) -> Vec<String> {
        let face = self.faces.of(weight);
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let mut rest = word;
            while !rest.is_empty() {
                let line = lines.last().map(String::as_str).unwrap_or_default();
                let joined = if line.is_empty() { rest.to_owned() } else { format!("{line} {rest}") };
                if face.width(&joined, size) <= width {
                    lines.pop();
                    lines.push(joined);
                    break;
                }
                if !line.is_empty() {
                    lines.push(String::new());
                    continue;
                }
                // as much of it as fits, one character at least
                let fits = |end: &usize| face.width(&rest[..*end], size) <= width;
                let ends = rest.char_indices().map(|(at, one)| at + one.len_utf8());
                let first = rest.chars().next().map_or(rest.len(), char::len_utf8);
                let end = ends.take_while(fits).last().unwrap_or(first);
                lines.pop();
                lines.extend([rest[..end].to_owned(), String::new()]);
                rest = &rest[end..];
            }
        }
        if lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Space.
    pub fn skip(&mut self, points: f32) {
        self.y += points;
    }

    /// A paragraph over the whole width.
    pub fn text(&mut self, text: &str, size: f32, weight: Weight) {
        for line in self.lines(text, Self::width(), size, weight) {
            self.room(size * LEADING);
            let y = self.y + size;
            self.page().push(Mark::Text { x: MARGIN, y, size, weight, text: line });
            self.y += size * LEADING;
        }
    }

    /// A table; its head stands on each of its pages, and no row is cut in two.
    pub fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) {
        let whole: f32 = columns.iter().map(|column| column.width).sum();
        let widths: Vec<f32> = columns.iter().map(|column| column.width / whole * Self::width()).collect();
        let head: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
        self.row(columns, &widths, &head, Weight::Bold, None);
        for cells in rows {
            self.row(columns, &widths, cells, Weight::Regular, Some(&head));
        }
    }

    fn row(&mut self, columns: &[Column], widths: &[f32], cells: &[String], weight: Weight, head: Option<&[String]>) {
        let inner = |width: &f32| (width - 2.0 * CELL_PAD).max(1.0);
        let cells: Vec<Vec<String>> =
            cells.iter().zip(widths).map(|(cell, width)| self.lines(cell, inner(width), TABLE_SIZE, weight)).collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or(1);
        let height = lines as f32 * TABLE_SIZE * LEADING + CELL_PAD;
        if self.room(height)
            && let Some(head) = head
        {
            self.row(columns, widths, head, Weight::Bold, None);
        }
        let (top, mut left) = (self.y, MARGIN);
        for ((column, width), lines) in columns.iter().zip(widths).zip(cells) {
            for (n, text) in lines.into_iter().enumerate() {
                let own = self.faces.of(weight).width(&text, TABLE_SIZE);
                let x = if column.is_number { left + width - CELL_PAD - own } else { left + CELL_PAD };
                let y = top + n as f32 * TABLE_SIZE * LEADING + TABLE_SIZE;
                self.page().push(Mark::Text { x, y, size: TABLE_SIZE, weight, text });
            }
            left += width;
        }
        self.y = top + height;
        let y = self.y - 1.0;
        self.page().push(Mark::Rule { x: MARGIN, y, to: PAGE.0 - MARGIN });
    }

    /// Lines to sign on, side by side, kept together.
    pub fn signatures(&mut self, names: &[&str]) {
        self.room(64.0);
        let each = Self::width() / names.len().max(1) as f32;
        let y = self.y + 44.0;
        for (n, name) in names.iter().enumerate() {
            let x = MARGIN + n as f32 * each;
            let page = self.page();
            page.push(Mark::Rule { x, y, to: x + each - 16.0 });
            let (size, weight) = (TABLE_SIZE, Weight::Regular);
            page.push(Mark::Text { x, y: y + 11.0, size, weight, text: (*name).to_owned() });
        }
        self.y += 64.0;
    }

    /// The pages as PDF, each with `foot` and its number.
    pub fn written(mut self, title: &str, foot: &str) -> Result<Vec<u8>, ReportError> {
        let count = self.pages.len();
        if count > PAGES_MAX {
            return Err(ReportError::TooLong);
        }
        for (n, page) in self.pages.iter_mut().enumerate() {
            let (y, size, weight) = (PAGE.1 - MARGIN, 7.0, Weight::Regular);
            let number = format!("Page {} of {count}", n + 1);
            let own = self.faces.of(weight).width(&number, size);
            page.push(Mark::Rule { x: MARGIN, y: y - 12.0, to: PAGE.0 - MARGIN });
            page.push(Mark::Text { x: MARGIN, y, size, weight, text: foot.to_owned() });
            page.push(Mark::Text { x: PAGE.0 - MARGIN - own, y, size, weight, text: number });
        }
        let mut document = Document::new();
        let metadata = Metadata::new().title(title.to_owned()).language("en".to_owned()).creator("Mlinzi".to_owned());
        document.set_metadata(metadata);
        for marks in &self.pages {
            let settings = PageSettings::from_wh(PAGE.0, PAGE.1).ok_or(ReportError::Write)?;
            let mut page = document.start_page_with(settings);
            let mut surface = page.surface();
            marks.iter().for_each(|mark| self.faces.draw(&mut surface, mark));
            surface.finish();
            page.finish();
        }
        document.finish().map_err(|_| ReportError::Write)
    }
}

impl Faces {
    fn draw(&self, surface: &mut Surface<'_>, mark: &Mark) {
        match mark {
            Mark::Text { x, y, size, weight, text } => {
                let face = self.of(*weight);
                surface.set_stroke(None);
                surface.set_fill(Some(Fill::default()));
                let glyphs = face.glyphs(text);
                surface.draw_glyphs(Point::from_xy(*x, *y), &glyphs, face.font.clone(), text, *size, false);
            }
            Mark::Rule { x, y, to } => {
                let mut line = PathBuilder::new();
                line.move_to(*x, *y);
                line.line_to(*to, *y);
                let Some(path) = line.finish() else { return };
                let opacity = NormalizedF32::new(0.5).unwrap_or(NormalizedF32::ONE);
                surface.set_fill(None);
                surface.set_stroke(Some(Stroke { width: 0.5, opacity, ..Stroke::default() }));
                surface.draw_path(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { title: "Day", width: 1.0, is_number: false },
        Column { title: "Score", width: 1.0, is_number: true },
    ];

    fn texts(page: &[Mark]) -> Vec<&str> {
        let text = |mark: &'_ Mark| matches!(mark, Mark::Text { .. });
        let marks = page.iter().filter(|mark| text(mark));
        marks.map(|mark| if let Mark::Text { text, .. } = mark { text.as_str() } else { "" }).collect()
    }

    #[test]
    fn words_are_wrapped_within_the_margins_and_none_is_lost() {
        let mut sheets = Sheets::new().unwrap();
        let said = "every word of a long sentence stands on some line of the page ".repeat(20);
        let long = format!("{said} {}", "x".repeat(400));
        sheets.text(&long, 10.0, Weight::Regular);
        let face = &sheets.faces.regular;
        let lines = texts(&sheets.pages()[0]);
        assert!(lines.len() > 10);
        assert!(lines.iter().all(|line| face.width(line, 10.0) <= Sheets::width()), "{lines:?}");
        let without = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(without(&lines.concat()), without(&long));
    }

    #[test]
    fn a_table_breaks_between_rows_and_has_its_head_on_each_page() {
        let mut sheets = Sheets::new().unwrap();
        let rows: Vec<Vec<String>> = (0..200).map(|n| vec![format!("day {n}"), n.to_string()]).collect();
        sheets.table(COLUMNS, &rows);
        let pages = sheets.pages();
        assert!((4..8).contains(&pages.len()), "{}", pages.len());
        let mut seen = Vec::new();
        for page in pages {
            let texts = texts(page);
            assert_eq!(texts[..2], ["Day", "Score"]);
            seen.extend(texts[2..].iter().map(|text| (*text).to_owned()));
            let bottom = PAGE.1 - MARGIN - FOOT;
            assert!(
                page.iter().all(|mark| matches!(mark, Mark::Text { y, .. } | Mark::Rule { y, .. } if *y <= bottom))
            );
        }
        assert_eq!(seen, rows.concat());
    }

    #[test]
    fn the_same_text_gives_the_same_bytes_with_as_many_pages() {
        let write = |rows: usize| {
            let mut sheets = Sheets::new().unwrap();
            sheets.text("Ng'ang'a & Sönö – 千", 14.0, Weight::Bold);
            sheets.table(COLUMNS, &vec![vec!["2026-11-20".to_owned(), "99".to_owned()]; rows]);
            sheets.signatures(&["one", "other"]);
            let pages = sheets.pages().len();
            (pages, sheets.written("A report", "foot").unwrap())
        };
        for rows in [1, 150] {
            let (pages, bytes) = write(rows);
            assert!(bytes.starts_with(b"%PDF-"), "{rows}");
            assert_eq!(bytes, write(rows).1, "{rows}");
            let text = String::from_utf8_lossy(&bytes);
            let count = format!("/Count {pages}");
            assert!(text.contains(&count), "{count}");
        }
        let rows = vec![vec![String::new(), String::new()]; 80 * PAGES_MAX];
        let mut sheets = Sheets::new().unwrap();
        sheets.table(COLUMNS, &rows);
        assert_eq!(sheets.written("A report", "foot"), Err(ReportError::TooLong));
    }
}
