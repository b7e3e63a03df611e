//! One replica: partitions of cells, of which the latest count.

use bytes::Bytes;
use godwit::store::scylla::tables::{MembershipState, Mutation, Rows};
use godwit_proto::{ConversationId, UserId};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::RangeInclusive,
};

/// A partition of one of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    Log(ConversationId, u64),
    Conversation(ConversationId),
    Memberships(UserId),
    Sends(ConversationId, u64),
}

/// A cell of a partition. The static ones sort before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    Head,
    Epoch,
    Pending,
    Meta,
    Entry(u64),
    Member(u64),
    Membership(u128),
    Hashes(u8),
}

impl Column {
    fn is_static(self) -> bool {
        self <= Self::Meta
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub timestamp_us: i64,
    pub value: Bytes,
    /// From then on it counts as deleted.
    pub ends_ms: u64,
}

pub type Cells = BTreeMap<Column, Cell>;

/// What is read: the static columns if there are any, and rows from one end on.
#[derive(Debug, Clone)]
pub struct Query {
    pub partition: Partition,
    pub statics: bool,
    pub rows: RangeInclusive<Column>,
    pub backward: bool,
    pub limit: usize,
}

#[derive(Debug, Default)]
pub struct Replica(BTreeMap<Partition, Cells>);

impl Replica {
    /// Takes cells that belong together. How many of them count.
    pub fn take(&mut self, partition: Partition, cells: &Cells) -> usize {
        let held = self.0.entry(partition).or_default();
        cells.iter().filter(|(column, cell)| put(held, **column, cell)).count()
    }

    /// One cell, if this replica has it.
    pub fn cell(&self, partition: Partition, column: Column) -> Option<&Cell> {
        self.0.get(&partition)?.get(&column)
    }

    /// What this replica has of it. Rows that are gone count in no limit, and are there so that older ones do not come back.
    pub fn read(&self, query: &Query, now_ms: u64) -> Cells {
        let Some(held) = self.0.get(&query.partition) else { return Cells::new() };
        let mut read: Cells = statics(held, query).map(|(column, cell)| (*column, cell.clone())).collect();
        read.extend(rows(held, query, now_ms));
        read
    }
}

/// Both together, each cell as the latest of them, cut to what was asked.
pub fn merge(answers: &[Cells], query: &Query, now_ms: u64) -> Cells {
    let mut all = Cells::new();
    answers.iter().flatten().for_each(|(column, cell)| {
        put(&mut all, *column, cell);
    });
    let mut merged: Cells = statics(&all, query).map(|(column, cell)| (*column, cell.clone())).collect();
    merged.extend(rows(&all, query, now_ms));
    merged
}

fn statics<'a>(held: &'a Cells, query: &Query) -> impl Iterator<Item = (&'a Column, &'a Cell)> {
    let wanted = query.statics;
    held.iter().take_while(move |(column, _)| wanted && column.is_static())
}

fn rows(held: &Cells, query: &Query, now_ms: u64) -> Vec<(Column, Cell)> {
    if query.rows.is_empty() {
        return Vec::new();
    }
    let range = held.range(query.rows.clone());
    let mut left = query.limit;
    let mut counts = |cell: &Cell| {
        let is_there = cell.ends_ms > now_ms;
        let counts = !is_there || left > 0;
        left = left.saturating_sub(usize::from(is_there));
        counts
    };
    let copy = |(column, cell): (&Column, &Cell)| (*column, cell.clone());
    match query.backward {
        false => range.take_while(|(_, cell)| counts(cell)).map(copy).collect(),
        true => range.rev().take_while(|(_, cell)| counts(cell)).map(copy).collect(),
    }
}

/// The later one counts; of two of the same time, the greater value.
fn put(held: &mut Cells, column: Column, cell: &Cell) -> bool {
    match held.entry(column) {
        Entry::Vacant(vacant) => {
            vacant.insert(cell.clone());
            true
        }
        Entry::Occupied(mut occupied) => {
            let rank = |cell: &Cell| (cell.timestamp_us, cell.value.clone());
            let counts = rank(cell) > rank(occupied.get());
            if counts {
                occupied.insert(cell.clone());
            }
            counts
        }
    }
}

/// A mutation as cells.
pub fn cells(mutation: &Mutation, left_ends_ms: u64) -> (Partition, Cells) {
    let timestamp_us = mutation.timestamp_us;
    let lasting = |value: Bytes| Cell { timestamp_us, value, ends_ms: u64::MAX };
    let number = |number: u64| lasting(Bytes::copy_from_slice(&number.to_be_bytes()));
    match &mutation.rows {
        Rows::Log { conversation, bucket, state, entries } => {
            let mut cells = Cells::new();
            if let Some(state) = state {
                cells.insert(Column::Head, number(state.head.0));
                cells.insert(Column::Epoch, number(state.epoch));
                cells.insert(Column::Pending, lasting(state.pending.clone()));
            }
            cells.extend(entries.iter().map(|row| (Column::Entry(row.seq.0), lasting(row.entry.clone()))));
            (Partition::Log(*conversation, *bucket), cells)
        }
        Rows::Conversation { conversation, meta, members } => {
            let mut cells: Cells = meta.iter().map(|meta| (Column::Meta, lasting(meta.clone()))).collect();
            cells.extend(members.iter().map(|row| {
                let ends_ms = if row.member.is_empty() { left_ends_ms } else { u64::MAX };
                (Column::Member(row.user.as_u64()), Cell { ends_ms, ..lasting(row.member.clone()) })
            }));
            (Partition::Conversation(*conversation), cells)
        }
        Rows::Membership { user, conversation, state } => {
            let ends_ms = if *state == MembershipState::Left { left_ends_ms } else { u64::MAX };
            let cell = Cell { ends_ms, ..lasting(Bytes::copy_from_slice(&[*state as u8])) };
            (
                Partition::Memberships(*user),
                [(Column::Membership(u128::from_be_bytes(*conversation.as_bytes())), cell)].into(),
            )
        }
        Rows::Sends { conversation, bucket, segment, hashes } => {
            let cell = lasting(hashes.clone());
            (Partition::Sends(*conversation, *bucket), [(Column::Hashes(*segment), cell)].into())
        }
    }
}
