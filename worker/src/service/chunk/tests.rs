use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;

fn cut(text: &str, tokens: usize, overlap: usize) -> Vec<Chunk> {
    let chunking = Chunking {
        tokens,
        overlap,
        ..Chunking::default()
    };
    chunks(text, chunking).collect()
}

fn texts<'t>(text: &'t str, chunks: &[Chunk]) -> Vec<&'t str> {
    chunks.iter().map(|c| &text[c.start..c.end]).collect()
}

/// What every cutting of every text keeps.
fn lawful(text: &str, chunking: Chunking) -> Result<(), TestCaseError> {
    let chunks: Vec<Chunk> = chunks(text, chunking).collect();
    let mut covered = 0;
    let mut start = None;
    for chunk in &chunks {
        prop_assert!(text.is_char_boundary(chunk.start) && text.is_char_boundary(chunk.end));
        prop_assert!(
            chunk.start <= covered && covered < chunk.end,
            "a gap or no progress"
        );
        prop_assert!(start.is_none_or(|before| before < chunk.start));
        let part = &text[chunk.start..chunk.end];
        prop_assert_eq!(chunk.tokens, chunking.tokenizer.count(part));
        prop_assert!(chunk.tokens <= chunking.tokens, "{} tokens", chunk.tokens);
        let repeated = &text[chunk.start..covered];
        // Two ends of atoms that are cut apart may count a token more each.
        let repeated = chunking.tokenizer.count(repeated);
        prop_assert!(repeated <= chunking.overlap + 2, "{repeated} repeated");
        prop_assert!(chunking.overlap > 0 || chunk.start == covered);
        start = Some(chunk.start);
        covered = chunk.end;
    }
    prop_assert_eq!(covered, text.len());
    Ok(())
}

/// Words, numbers, code, white space, other scripts, emoji, and runs of one character.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-zA-Z]{1,12} ",
        "[0-9]{1,20}",
        "[ \\t\\r\\n]{1,6}",
        "[.!?;:{}()<>=_/-]{1,8}",
        "[а-яäöüßéñ]{1,10} ",
        "[一-龥]{1,30}。?",
        "[👩🏽‍🚀👨‍👩‍👧🇩🇪]{1,6}",
        "[^a]{1,10}",
        ("[a ]", 1..3000_usize).prop_map(|(c, count)| c.repeat(count)),
    ];
    proptest::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

fn chunking() -> impl Strategy<Value = Chunking> {
    let tokenizer = prop_oneof![Just(Tokenizer::Cl100k), Just(Tokenizer::Bytes)];
    (16..200_usize, 0..=50_usize, tokenizer).prop_map(|(tokens, share, tokenizer)| Chunking {
        tokens,
        overlap: tokens * share / 100,
        tokenizer,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_of_a_text_is_in_chunks_that_fit(text in text(), chunking in chunking()) {
        lawful(&text, chunking)?;
    }
}

#[test]
fn tokens_are_those_of_the_published_tokenizer() {
    // From the tests of OpenAI's own tiktoken.
    for (text, tokens) in [
        ("", 0),
        ("hello world", 2),
        ("rer", 1),
        ("'rer", 2),
        ("today\n ", 3),
        ("today\n \n", 2),
        ("0", 1),
        ("000", 1),
        ("0000", 2),
        ("00000000000000000", 6),
    ] {
        assert_eq!(Tokenizer::Cl100k.count(text), tokens, "{text:?}");
    }
}

#[test]
fn a_short_text_is_one_chunk_and_none_has_none() {
    assert_eq!(cut("", 16, 4), []);
    let all = Chunk {
        start: 0,
        end: 11,
        tokens: 2,
    };
    assert_eq!(cut("hello world", 16, 4), [all]);
}

#[test]
fn chunks_end_with_paragraphs_then_sentences_then_words() {
    let paragraphs = "One two three four five six seven.\nEight nine ten.\n\nNext one. Two three \
                      four five six seven eight nine ten.";
    let parts = texts(paragraphs, &cut(paragraphs, 20, 0)).join("|");
    assert!(
        parts.starts_with("One two three four five six seven.\nEight nine ten.\n\n|Next"),
        "{parts}"
    );
    let sentences = "One two three four five six seven eight nine. Ten eleven twelve thirteen \
                     fourteen fifteen sixteen seventeen.";
    let parts = texts(sentences, &cut(sentences, 16, 0)).join("|");
    assert!(
        parts.starts_with("One two three four five six seven eight nine.| Ten"),
        "{parts}"
    );
    let words = "word ".repeat(40);
    for part in texts(&words, &cut(&words, 16, 0)) {
        assert!(
            part.trim().split(' ').all(|word| word == "word"),
            "{part:?}"
        );
    }
}

#[test]
fn a_chunk_begins_with_the_end_of_the_one_before() {
    let text: String = (0..200).map(|n| format!("w{n} ")).collect();
    let chunks = cut(&text, 40, 10);
    assert!(chunks.len() > 10);
    for pair in chunks.windows(2) {
        let repeated = &text[pair[1].start..pair[0].end];
        let tokens = Tokenizer::Cl100k.count(repeated);
        assert!((6..=11).contains(&tokens), "{repeated:?} has {tokens}");
    }
}

#[test]
fn megabytes_without_a_space_are_cut_in_no_time() {
    for text in [
        "a".repeat(2_000_000),
        " ".repeat(2_000_000),
        "漢字".repeat(300_000),
    ] {
        let chunks = cut(&text, 400, 50);
        assert!(chunks.iter().all(|chunk| chunk.tokens <= 400));
        assert_eq!(chunks.last().map(|chunk| chunk.end), Some(text.len()));
    }
}
