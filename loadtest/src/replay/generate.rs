//! A corpus for those who have none: made up from a seed, in many languages and scripts.

use super::corpus::{Corpus, Message};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::IndexedRandom};

/// As many messages as asked for, the same ones for the same seed: mostly between people who write to each other often,
/// some to nobody in particular, a few to oneself, and many of them repeated to the letter.
pub fn corpus(seed: u64, messages: usize) -> Corpus {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let people = (messages / MESSAGES_PER_PERSON).clamp(2, PEOPLE_MAX) as u64;
    let messages = (0..messages).map(|_| message(&mut rng, people)).collect();
    Corpus { name: format!("generated from seed {seed}"), messages }
}

fn message(rng: &mut Xoshiro256PlusPlus, people: u64) -> Message {
    // The product of two draws favours small numbers: a few people write much, most little.
    let from = rng.random_range(0..people).min(rng.random_range(0..people)) + 1;
    let to = match rng.random_range(0..100) {
        0..20 => None,
        20 => Some(from),
        // Neighbours, so that pairs talk in both directions.
        _ => Some((from - 1 + rng.random_range(1..=NEIGHBOURS)) % people + 1),
    };
    let (from, to) = match to {
        Some(to) if rng.random_bool(0.5) => (to, Some(from)),
        to => (from, to),
    };
    Message { from, to, text: text(rng).into() }
}

fn text(rng: &mut Xoshiro256PlusPlus) -> String {
    // Mostly a phrase or two; now and then a long one that needs several packets.
    let phrases = match rng.random_range(0..1000) {
        0 => rng.random_range(100..400),
        1..20 => rng.random_range(10..40),
        20..400 => 1,
        _ => rng.random_range(2..5),
    };
    let chosen: Vec<&str> = (0..phrases).filter_map(|_| PHRASES.choose(rng).copied()).collect();
    chosen.join(" ")
}

const MESSAGES_PER_PERSON: usize = 15;
const PEOPLE_MAX: usize = 3000;
const NEIGHBOURS: u64 = 3;

/// One, two, three and four bytes a character, both directions, combining marks, joined emoji, and what breaks programs
/// that mean bytes and say characters.
const PHRASES: [&str; 40] = [
    "ok",
    "See you at the station at 7",
    "lol",
    "Running late, sorry!!",
    "Bis später, ich bin noch im Büro",
    "Grüße aus Köln",
    "On se retrouve où ce soir ?",
    "Ça marche, à tout à l’heure",
    "¿Dónde estás? ¡Te espero!",
    "Você já chegou em São Paulo?",
    "Dziękuję, już jadę",
    "Příště přijdu dřív",
    "Teşekkürler, görüşürüz",
    "Cảm ơn bạn nhiều lắm",
    "Привет, ты где?",
    "Скоро буду дома",
    "Дякую, до зустрічі",
    "Γεια σου, τι κάνεις;",
    "שלום, מה שלומך?",
    "مرحبا، كيف حالك؟",
    "إن شاء الله نلتقي غدًا",
    "سلام، کجایی؟",
    "नमस्ते, आप कैसे हैं?",
    "আমি আসছি",
    "வணக்கம், எங்கே இருக்கிறாய்?",
    "สวัสดีครับ กำลังไป",
    "ជំរាបសួរ",
    "你到哪里了?我在楼下等你",
    "好的,明天见",
    "食咗飯未呀",
    "今どこですか?駅に着きました",
    "了解しました。ありがとう!",
    "지금 어디야? 곧 도착해",
    "ㅋㅋㅋ 알았어",
    "ሰላም እንዴት ነህ",
    "👍🏽",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇸🇬",
    "e\u{301}a\u{308}\u{323} z\u{335}\u{321}",
    "line one\nline two\r\n\tend",
    "\u{202e}reversed\u{202c} \u{200b} \u{feff} 𝒜𝓁𝒾𝒸ℯ",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_makes_the_same_corpus_and_another_seed_another_one() {
        assert_eq!(corpus(7, 500), corpus(7, 500));
        assert_ne!(corpus(7, 500).messages, corpus(8, 500).messages);
    }

    #[test]
    fn every_kind_of_message_occurs() {
        let messages = corpus(1, 3000).messages;
        assert_eq!(messages.len(), 3000);
        assert!(messages.iter().any(|message| message.to.is_none()));
        assert!(messages.iter().any(|message| message.to == Some(message.from)));
        let pairs: HashSet<_> = messages.iter().filter_map(|m| Some((m.from, m.to?))).collect();
        assert!(pairs.iter().any(|&(from, to)| from != to && pairs.contains(&(to, from))), "no dialogue");
        let texts: HashSet<_> = messages.iter().map(|message| &message.text).collect();
        assert!(texts.len() < messages.len(), "no text is repeated");
        assert!(messages.iter().any(|message| message.text.len() > 2000), "no long one");
    }

    #[test]
    fn the_smallest_corpus_has_two_people() {
        let messages = corpus(3, 1).messages;
        assert!((1..=2).contains(&messages[0].from));
    }
}
