//! The bid grammar against texts that nobody would write: the same checks as the fuzz target `bid`, over seeded texts.

#[path = "grammar/checks.rs"]
mod checks;

use checks::check_text;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Pieces of bids, good and bad; texts are made of them.
const PIECES: [&str; 48] = [
    "CPU:",
    "memory:",
    "disk:",
    "NetworkInterfaceIncoming:",
    "NetworkInterfaceOutgoing:",
    "IPv4Address,",
    "TCPv4Port,",
    "TCPPort,",
    "any",
    "192.0.2.92",
    "8080",
    ":",
    ",",
    " ",
    "1",
    "0",
    "0.1",
    "25%",
    "100%",
    "1e300",
    "1e-300",
    "-1",
    "NaN",
    "inf",
    "256MiB",
    "100GB",
    "2CPU",
    "10Mbit",
    "3y",
    "1o1y",
    "90m",
    "0s",
    "10w",
    "99999999999999999999y",
    "0.9999999",
    "10000.9",
    "stand",
    ".5",
    "5.",
    "+1",
    "\t",
    "\u{a0}",
    "é",
    "18446744073709551616",
    "memory",
    "1,2,3,4,5",
    "%",
    "1h30",
];

const SEEDS: [&str; 8] = [
    "3y CPU:1,0.10,1,0.2 memory:1,256MiB,1GiB,0.2 disk:1,100GB,100GB IPv4Address,192.0.2.92:1",
    "1h CPU:1",
    "0 CPU:,1.5CPU",
    "1o1y NetworkInterfaceIncoming:1,0.5,1.0,0.9 NetworkInterfaceOutgoing:1,0.5,1.0",
    "90m TCPv4Port,8080:2,3.6,stand IPv4Address,any:1",
    "1h CPU:1e-9,0,100% memory:1e9",
    "1000000000y disk:1",
    "1s CPU:1,4CPU,4CPU",
];

#[test]
fn no_text_breaks_the_grammar() {
    SEEDS.into_iter().for_each(check_text);
    let mut chance = ChaCha8Rng::seed_from_u64(5);
    let mut below = |count: usize| (chance.next_u64() % count as u64) as usize;
    for round in 0..6_000 {
        let mut text = if round % 2 == 0 { String::new() } else { SEEDS[below(SEEDS.len())].to_owned() };
        for _ in 0..below(8) {
            let piece = PIECES[below(PIECES.len())];
            let places: Vec<usize> = (0..=text.len()).filter(|place| text.is_char_boundary(*place)).collect();
            let place = places[below(places.len())];
            match below(3) {
                // Put a piece in, in place of what is there, or take something out.
                0 => text.insert_str(place, piece),
                1 => {
                    text.truncate(place);
                    text.push_str(piece);
                }
                _ => {
                    text.insert_str(place, piece);
                    let end = places[below(places.len())];
                    let (first, last) = (place.min(end), place.max(end));
                    if text.is_char_boundary(first) && text.is_char_boundary(last) {
                        text.replace_range(first..last, "");
                    }
                }
            }
        }
        check_text(&text);
    }
}

#[test]
fn a_text_as_long_as_it_may_be_is_read_and_a_longer_one_refused() {
    let word = "CPU:1,0.1 ";
    check_text(&word.repeat(400));
    check_text(&word.repeat(100_000));
}
