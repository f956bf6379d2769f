//! Did you mean …?

/// The known word that `wrong` most likely is, if one is near enough to be a slip of the hand.
pub(crate) fn nearest<'k>(
    wrong: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let limit = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (distance(wrong, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, word)| word)
}

/// Edits from one word to the other: insert, delete, replace, swap two neighbours.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().replace('-', "_").chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut cost = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                cost = cost.min(rows[i - 1][j - 1] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_another_word_is_not() {
        let known = ["in_flight", "timeout", "key"];
        assert_eq!(nearest("in_flght", known), Some("in_flight"));
        assert_eq!(nearest("in-flight", known), Some("in_flight"));
        assert_eq!(nearest("timeuot", known), Some("timeout"));
        assert_eq!(nearest("Key", known), Some("key"));
        assert_eq!(nearest("endpoint", known), None);
        assert_eq!(nearest("", known), None);
    }
}
