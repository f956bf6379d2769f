//! Small documents, made for a test.

/// A PDF of one page with these lines of ASCII, which programs and services can read.
#[must_use]
pub fn with_lines(lines: &[String]) -> Vec<u8> {
    let shown: String = lines
        .iter()
        .map(|line| format!("({line}) Tj T*\n"))
        .collect();
    let page = format!("BT /F1 12 Tf 14 TL 72 700 Td\n{shown}ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut text = "%PDF-1.4\n".to_owned();
    let mut entries = "0000000000 65535 f \n".to_owned();
    for (index, object) in objects.iter().enumerate() {
        entries.push_str(&format!("{:010} 00000 n \n", text.len()));
        text.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let start = text.len();
    let count = objects.len() + 1;
    text.push_str(&format!(
        "xref\n0 {count}\n{entries}trailer\n<< /Size {count} /Root 1 0 R >>\n\
         startxref\n{start}\n%%EOF\n"
    ));
    text.into_bytes()
}
