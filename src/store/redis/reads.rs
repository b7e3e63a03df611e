//! Answering from Redis what can be believed there, and the rest from the store.

use super::{
    Shared,
    audit::Sample,
    cells::Cells,
    changes::Change,
    encode::{self, FIELDS, Fields},
    keys::Subject,
    link::{NoAnswer, Questions, read},
    meters::{Doubt, Kind, Source},
    slices::Trust,
    writer::{Job, Rebuilt},
};
use crate::store::{StoreError, StoredSummary};
use godwit_proto::{ConversationId, UserId};
use redis::{Cmd, Value};
use std::collections::BTreeMap;

/// A user with more conversations has no list in Redis. Of 16 bytes each.
const LIST_MAX: usize = 20_000;

/// What the question for one line takes, with a prefix of usual length.
const LINE_QUESTION_BYTES: usize = 128;

/// A line of a list.
pub(super) type Line = (ConversationId, UserId);

/// What Redis had to say.
pub(super) enum Found<T> {
    /// This can be believed.
    Here(T),
    /// It is not there, and should be.
    Missing,
    /// It is not asked for there.
    Elsewhere(Source),
}

impl Shared {
    pub(super) async fn summaries(&self, wanted: Vec<Line>) -> Result<Vec<Option<StoredSummary>>, StoreError> {
        let found = self.lines(Kind::Read, &wanted).await;
        let mut answers: Vec<Option<StoredSummary>> = Vec::with_capacity(wanted.len());
        // Where in the answers, and whether it is to be written to Redis.
        let mut rest: Vec<(usize, bool)> = Vec::new();
        let mut from = Sources::default();
        for (at, found) in found.into_iter().enumerate() {
            from.count(&found);
            answers.push(match found {
                Found::Here(summary) => Some(summary),
                Found::Missing => {
                    rest.push((at, true));
                    None
                }
                Found::Elsewhere(_) => {
                    rest.push((at, false));
                    None
                }
            });
        }
        from.report(self);
        self.audits.offer_line(&wanted, &answers);
        if rest.is_empty() {
            return Ok(answers);
        }
        let cell = |line: Line| Cells::of(Subject::Conversation(line.0));
        // Before the store is read: what changes from now on is newer than what is read.
        let versions: Vec<u64> = rest.iter().map(|(at, _)| self.cells.version(cell(wanted[*at]))).collect();
        let read = self.store.summaries(rest.iter().map(|(at, _)| wanted[*at]).collect()).await?;
        let mut rebuilt = Vec::new();
        for (((at, rebuild), version), summary) in rest.into_iter().zip(versions).zip(read) {
            if let Some(summary) = summary.as_ref().filter(|_| rebuild) {
                let change = Change::Rebuilt(wanted[at].0, Box::new(summary.clone()));
                rebuilt.push(Rebuilt { change, cell: cell(wanted[at]), version });
            }
            answers[at] = summary;
        }
        if !rebuilt.is_empty() {
            self.write(Job::Rebuilt(rebuilt));
        }
        Ok(answers)
    }

    pub(super) async fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let found = self.list(Kind::Read, user).await;
        let mut from = Sources::default();
        from.count(&found);
        from.report(self);
        match found {
            Found::Here(ids) => {
                self.audits.offer(Sample::List(user));
                Ok(page(&ids, after, limit))
            }
            Found::Elsewhere(_) => self.store.conversations_of(user, after, limit).await,
            Found::Missing => {
                let cell = Cells::of(Subject::List(user));
                let version = self.cells.version(cell);
                let ids = self.store.conversations_of(user, None, LIST_MAX + 1).await?;
                if ids.len() > LIST_MAX {
                    return self.store.conversations_of(user, after, limit).await;
                }
                let page = page(&ids, after, limit);
                self.write(Job::Rebuilt(vec![Rebuilt { change: Change::RebuiltList(user, ids), cell, version }]));
                Ok(page)
            }
        }
    }

    /// What Redis has of each line.
    pub(super) async fn lines(&self, kind: Kind, wanted: &[Line]) -> Vec<Found<StoredSummary>> {
        let mut found: Vec<Found<StoredSummary>> = Vec::with_capacity(wanted.len());
        let mut slices: BTreeMap<usize, (Trust, Vec<usize>)> = BTreeMap::new();
        for (at, (conversation, _)) in wanted.iter().enumerate() {
            let subject = Subject::Conversation(*conversation);
            found.push(match self.standing(subject) {
                Ok(trust) => {
                    slices.entry(subject.slice()).or_insert_with(|| (trust, Vec::new())).1.push(at);
                    Found::Missing
                }
                Err(elsewhere) => elsewhere,
            });
        }
        if slices.is_empty() {
            return found;
        }
        let mut questions = Questions::with_capacity(wanted.len() + slices.len());
        for (slice, (_, places)) in &slices {
            for (conversation, user) in places.iter().map(|at| wanted[*at]) {
                let key = self.keys.of(Subject::Conversation(conversation));
                let mut question = Cmd::with_capacity(FIELDS.len() + 3, LINE_QUESTION_BYTES);
                question.arg("HMGET").arg(key).arg(&FIELDS).arg(user.as_u64());
                questions.ask(question);
            }
            // After the values: if it is as it should be, they were.
            questions.ask(get(self.keys.sentinel(*slice)));
            questions.end_slice();
        }
        let answers = self.link.ask(kind, &questions).await;
        let Ok(answers) = answers else {
            for at in slices.into_values().flat_map(|(_, places)| places) {
                found[at] = Found::Elsewhere(Source::Away);
            }
            return found;
        };
        let mut answers = answers.into_iter();
        for (slice, (trust, places)) in slices {
            let values: Vec<Value> = answers.by_ref().take(places.len()).collect();
            if !self.is_borne_out(slice, &trust, answers.next()) {
                continue;
            }
            for (at, value) in places.into_iter().zip(values) {
                found[at] = here(fields(value).map(|fields| encode::read_line(fields, &trust.tag)));
            }
        }
        found
    }

    /// What Redis has of a user's list.
    pub(super) async fn list(&self, kind: Kind, user: UserId) -> Found<Vec<ConversationId>> {
        let subject = Subject::List(user);
        let trust = match self.standing(subject) {
            Ok(trust) => trust,
            Err(elsewhere) => return elsewhere,
        };
        let questions = Questions::of_slice([get(self.keys.of(subject)), get(self.keys.sentinel(subject.slice()))]);
        let answers = match self.link.ask(kind, &questions).await {
            Ok(answers) => answers,
            Err(NoAnswer) => return Found::Elsewhere(Source::Away),
        };
        let mut answers = answers.into_iter();
        let value = answers.next().and_then(read::<Option<Vec<u8>>>).flatten();
        if !self.is_borne_out(subject.slice(), &trust, answers.next()) {
            return Found::Missing;
        }
        here(Some(encode::read_list(value.as_deref(), &trust.tag)))
    }

    /// Whether a subject is to be asked for in Redis, and under which tag it is believed. The order matters: what is announced
    /// is behind until it was answered, and then part of what is relied on.
    fn standing<T>(&self, subject: Subject) -> Result<Trust, Found<T>> {
        if !self.link.is_up() {
            return Err(Found::Elsewhere(Source::Away));
        }
        if self.unsure.has(subject) || self.cells.is_behind(Cells::of(subject)) {
            return Err(Found::Elsewhere(Source::Behind));
        }
        self.slices.trust(subject.slice()).ok_or(Found::Missing)
    }

    fn is_borne_out(&self, slice: usize, trust: &Trust, sentinel: Option<Value>) -> bool {
        let sentinel = sentinel.and_then(read::<Option<Vec<u8>>>).flatten();
        let is_borne_out = self.slices.bears_out(slice, trust, sentinel.as_deref());
        if !is_borne_out && self.slices.close_if(slice, &trust.tag) {
            self.meters.doubted(Doubt::Lost);
        }
        is_borne_out
    }
}

fn get(key: String) -> Cmd {
    let mut question = Cmd::with_capacity(2, key.len() + 3);
    question.arg("GET").arg(key);
    question
}

/// What a line was answered with, without a copy.
fn fields(value: Value) -> Option<Fields> {
    let Value::Array(values) = value else { return None };
    let mut fields = Fields::default();
    if values.len() != fields.len() {
        return None;
    }
    for (field, value) in fields.iter_mut().zip(values) {
        *field = match value {
            Value::BulkString(bytes) => Some(bytes),
            Value::Nil => None,
            _ => return None,
        };
    }
    Some(fields)
}

fn here<T, E: std::fmt::Display>(read: Option<Result<Option<T>, E>>) -> Found<T> {
    match read {
        Some(Ok(Some(value))) => Found::Here(value),
        Some(Err(error)) => {
            tracing::warn!(%error, "what Redis holds cannot be read, and is made again");
            Found::Missing
        }
        Some(Ok(None)) | None => Found::Missing,
    }
}

fn page(ids: &[ConversationId], after: Option<ConversationId>, limit: usize) -> Vec<ConversationId> {
    let from = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
    ids[from..].iter().take(limit).copied().collect()
}

/// How many answers came from where.
#[derive(Default)]
struct Sources {
    redis: usize,
    missing: usize,
    behind: usize,
    away: usize,
}

impl Sources {
    fn count<T>(&mut self, found: &Found<T>) {
        let count = match found {
            Found::Here(_) => &mut self.redis,
            Found::Missing => &mut self.missing,
            Found::Elsewhere(Source::Behind) => &mut self.behind,
            Found::Elsewhere(_) => &mut self.away,
        };
        *count += 1;
    }

    fn report(&self, shared: &Shared) {
        let counts = [
            (Source::Redis, self.redis),
            (Source::Missing, self.missing),
            (Source::Behind, self.behind),
            (Source::Away, self.away),
        ];
        counts.into_iter().for_each(|(source, count)| shared.meters.answered(source, count));
    }
}
