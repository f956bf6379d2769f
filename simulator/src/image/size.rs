//! Width and height of an image, from its header alone.

/// The bytes are of no format that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownFormat;

type Size = Option<(u32, u32)>;

/// Width and height in pixels; none if the header is cut.
///
/// Of JPEG (and MPO), PNG, GIF, BMP, WEBP, TIFF and ICO, as Image Analysis takes them.
pub(crate) fn of(bytes: &[u8]) -> Result<Size, UnknownFormat> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(png(bytes)),
        [0xff, 0xd8, ..] => Ok(jpeg(bytes)),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(gif(bytes)),
        [b'B', b'M', ..] => Ok(bmp(bytes)),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Ok(webp(bytes)),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Ok(tiff(bytes)),
        [0, 0, 1, 0, ..] => Ok(ico(bytes)),
        _ => Err(UnknownFormat),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|two| u32::from(u16::from_le_bytes(two)))
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|two| u32::from(u16::from_be_bytes(two)))
}

fn u24_le(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]))
}

/// After length and name of the header chunk.
fn png(bytes: &[u8]) -> Size {
    let (width, height) = (array(bytes, 16)?, array(bytes, 20)?);
    Some((u32::from_be_bytes(width), u32::from_be_bytes(height)))
}

fn jpeg(bytes: &[u8]) -> Size {
    let mut at = 2;
    loop {
        let [0xff, marker] = array(bytes, at)? else {
            return None;
        };
        let frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if frame {
            return Some((u16_be(bytes, at + 7)?, u16_be(bytes, at + 5)?));
        }
        at += match marker {
            // Markers may be filled up with 0xff, and these have no length.
            0xff => 1,
            0x01 | 0xd0..=0xd7 => 2,
            _ => 2 + u16_be(bytes, at + 2)? as usize,
        };
    }
}

fn gif(bytes: &[u8]) -> Size {
    Some((u16_le(bytes, 6)?, u16_le(bytes, 8)?))
}

/// Sixteen bits in the oldest header, and a height below zero where rows go down.
fn bmp(bytes: &[u8]) -> Size {
    const OLDEST: u32 = 12;
    if u32::from_le_bytes(array(bytes, 14)?) == OLDEST {
        return Some((u16_le(bytes, 18)?, u16_le(bytes, 20)?));
    }
    let of = |at| array(bytes, at).map(|four| i32::from_le_bytes(four).unsigned_abs());
    Some((of(18)?, of(22)?))
}

fn webp(bytes: &[u8]) -> Size {
    match &array(bytes, 12)? {
        b"VP8X" => Some((u24_le(bytes, 24)? + 1, u24_le(bytes, 27)? + 1)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(array(bytes, 21)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((u16_le(bytes, 26)? & 0x3fff, u16_le(bytes, 28)? & 0x3fff)),
        _ => None,
    }
}

/// The tags 256 and 257 of the first directory.
fn tiff(bytes: &[u8]) -> Size {
    let little = bytes.first() == Some(&b'I');
    let short = |at| {
        if little {
            u16_le(bytes, at)
        } else {
            u16_be(bytes, at)
        }
    };
    let long = |at| {
        let four = array(bytes, at)?;
        Some(if little {
            u32::from_le_bytes(four)
        } else {
            u32::from_be_bytes(four)
        })
    };
    let directory = long(4)? as usize;
    let (mut width, mut height) = (None, None);
    for entry in 0..short(directory)? as usize {
        let at = directory + 2 + 12 * entry;
        let value = match short(at + 2)? {
            3 => short(at + 8)?,
            _ => long(at + 8)?,
        };
        match short(at)? {
            256 => width = Some(value),
            257 => height = Some(value),
            _ => {}
        }
    }
    width.zip(height)
}

/// Of the first icon; 0 stands for 256.
fn ico(bytes: &[u8]) -> Size {
    let of = |at| array(bytes, at).map(|[side]| if side == 0 { 256 } else { u32::from(side) });
    Some((of(6)?, of(7)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (at, part) in parts {
            bytes[*at..*at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn every_format_tells_its_size() {
        let wide = |bytes: &[u8]| assert_eq!(of(bytes), Ok(Some((300, 200))), "{bytes:?}");
        let le = [44, 1];
        wide(&at(10, &[(0, b"GIF89a"), (6, &le), (8, &[200, 0])]));
        wide(&at(
            26,
            &[
                (0, b"BM"),
                (14, &[40]),
                (18, &le),
                (22, &(-200_i32).to_le_bytes()),
            ],
        ));
        wide(&at(26, &[(0, b"BM"), (14, &[12]), (18, &le), (20, &[200])]));
        let riff = |kind: &'static [u8; 4]| [(0_usize, &b"RIFF"[..]), (8, b"WEBP"), (12, kind)];
        let [a, b, c] = riff(b"VP8X");
        wide(&at(30, &[a, b, c, (24, &[43, 1]), (27, &[199])]));
        let [a, b, c] = riff(b"VP8 ");
        wide(&at(30, &[a, b, c, (26, &le), (28, &[200, 0x40])]));
        let bits: u32 = 299 | 199 << 14;
        let [a, b, c] = riff(b"VP8L");
        wide(&at(
            25,
            &[a, b, c, (20, &[0x2f]), (21, &bits.to_le_bytes())],
        ));
        let tiff = [
            b"MM\0\x2a\0\0\0\x08\0\x02".as_slice(),
            &[1, 0, 0, 3, 0, 0, 0, 1, 1, 44, 0, 0],
            &[1, 1, 0, 4, 0, 0, 0, 1, 0, 0, 0, 200],
        ];
        wide(&tiff.concat());
        let icon = [0, 0, 1, 0, 1, 0, 0, 48];
        assert_eq!(of(&icon), Ok(Some((256, 48))));
        assert_eq!(of(b"%PDF-1.7"), Err(UnknownFormat));
    }

    #[test]
    fn a_jpeg_may_have_fill_bytes_before_its_frame() {
        let jpeg = [
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 1, 0xff, 0xff, 0xc2, 0, 11, 8, 0, 100, 0, 200, 1,
        ];
        assert_eq!(of(&jpeg), Ok(Some((200, 100))));
    }

    #[test]
    fn cut_headers_tell_nothing() {
        for bytes in [
            &b"GIF89a"[..],
            b"BM",
            b"\x89PNG\r\n\x1a\n\0",
            b"\xff\xd8\xff",
            b"RIFF\0\0\0\0WEBPVP8X",
            b"II\x2a\0\xff\xff\xff\xff",
            b"\0\0\x01\0",
        ] {
            assert_eq!(of(bytes), Ok(None), "{bytes:?}");
        }
    }
}
