//! What a pass over the collection reads: all of it in ranges, what was left of it, or what is above the marks.

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error as DriverError;

use super::{
    connect::{ServerTime, Source},
    document::Trace,
    extract::Pass,
    marks::{self, MarkTracker},
    position::{Backfill, Mark, Position},
    ranges::{self, BRACKETS, Range},
    values,
};
use crate::batch::ChangeOrder;

/// Ids drawn per range, so that ranges are about equally large.
const SAMPLE_PER_RANGE: usize = 20;

/// Enough to be worth a cursor, few enough that readers end about together.
const DOCUMENTS_PER_RANGE: u64 = 10_000;

/// Ranges at most: the position names each of them.
const MOST_RANGES: u64 = 256;

/// What a pass is going to do.
pub(crate) struct Plan {
    pub(crate) position: Position,
    pub(crate) time: ServerTime,
    pub(crate) order: ChangeOrder,
    pub(crate) work: Vec<Work>,
    pub(crate) warnings: Vec<String>,
}

/// What one cursor reads.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Ids in their order; goes on behind the last one after a failure.
    Range(Box<Range>),
    /// In whatever order; begins anew after a failure.
    Increment(Document),
}

impl Work {
    pub(crate) fn filter(&self) -> Document {
        match self {
            Self::Range(range) => range.filter(),
            Self::Increment(filter) => filter.clone(),
        }
    }
}

/// Decides what to read.
pub(crate) async fn plan(
    source: &Source,
    position: Option<Position>,
    pass: Pass,
) -> Result<Plan, DriverError> {
    let uuid = source.uuid().await;
    let time = source.time().await?;
    let mut warnings = Vec::new();
    let (mut position, warning) = belonging(source, position, uuid);
    warnings.extend(warning);
    let is_first = !position.is_complete && position.backfill.is_none();
    let wants_history = pass != (Pass::Increment { history: false }) || position.must_reconcile;
    if is_first && !wants_history {
        position.is_complete = true;
        position.marks = marks::from_now_on(time.clock);
        position.marks.extend(greatest_number(source).await?);
    } else if pass == Pass::Full || is_first {
        position.backfill = Some(Backfill {
            order: time.order,
            began: time.clock,
            ranges: cut(source).await?,
            marks: Vec::new(),
        });
    }
    let (order, work) = if let Some(backfill) = &position.backfill {
        (
            backfill.order,
            backfill
                .ranges
                .iter()
                .cloned()
                .map(|range| Work::Range(Box::new(range)))
                .collect(),
        )
    } else {
        let settled = settled(source, &position.marks).await?;
        let filter = marks::filter(&position.marks, &settled);
        for (mark, is_settled) in position.marks.iter_mut().zip(settled) {
            if !is_settled {
                mark.ties = marks::UNSETTLED;
            }
        }
        (time.order, vec![Work::Increment(filter)])
    };
    Ok(Plan {
        position,
        time,
        order,
        work,
        warnings,
    })
}

/// The position, if it is one in this very collection; else that of an unread one, and what to tell.
pub(crate) fn belonging(
    source: &Source,
    position: Option<Position>,
    uuid: Option<String>,
) -> (Position, Option<String>) {
    let Some(mut position) = position else {
        return (Position::new(uuid), None);
    };
    if !position.is_of_another(uuid.as_deref()) {
        position.collection = uuid.or(position.collection);
        return (position, None);
    }
    let warning = format!(
        "{} is another collection than last time (dropped and made anew, or another server): reading all of it",
        source.namespace
    );
    // What is gone with the other collection is gone for the lake too.
    (Position::missed(uuid, position.epoch), Some(warning))
}

/// Whether the documents at each mark's value are those that were there when it was set.
async fn settled(source: &Source, marks: &[Mark]) -> Result<Vec<bool>, DriverError> {
    let mut settled = Vec::with_capacity(marks.len());
    for mark in marks {
        let mut cursor = source
            .collection
            .find(marks::ties_filter(mark))
            .projection(doc! {"_id": 1})
            .await?;
        let (mut ties, mut hash) = (0_i64, 0_i64);
        while cursor.advance().await? {
            ties += 1;
            if let Ok(Some(id)) = cursor.current().get("_id") {
                hash = hash.wrapping_add(marks::tie_hash(id));
            }
        }
        settled.push((ties, hash) == (mark.ties, mark.tie_hash));
    }
    Ok(settled)
}

/// The collection in ranges of about [`DOCUMENTS_PER_RANGE`].
async fn cut(source: &Source) -> Result<Vec<Range>, DriverError> {
    // One range holds everything too, on a server that does not tell.
    let count = source
        .collection
        .estimated_document_count()
        .await
        .unwrap_or_default();
    let wanted = (count / DOCUMENTS_PER_RANGE + 1).min(MOST_RANGES);
    let wanted = usize::try_from(wanted).unwrap_or(1);
    let (least, most) = match ends(source).await? {
        (End::None, _) | (_, End::None) => return Ok(Vec::new()),
        (End::Id(least), End::Id(most)) => (least, most),
        _ => return Ok((0..BRACKETS.len()).map(Range::whole).collect()),
    };
    if let (Bson::ObjectId(least), Bson::ObjectId(most)) = (&least, &most) {
        let bracket = values::bracket_of(&Bson::ObjectId(*least));
        let bounds = ranges::evenly(*least, *most, wanted);
        return Ok(ranges::cut(bracket, &bounds, wanted));
    }
    let brackets = brackets(source, &least, &most).await?;
    let mut samples = sample(source, wanted, &brackets).await?;
    let mut ranges = Vec::new();
    for bracket in brackets {
        let ids = std::mem::take(&mut samples[bracket]);
        // As many as its part of the sample lets expect.
        let parts = (ids.len() / SAMPLE_PER_RANGE).max(1);
        ranges.extend(ranges::cut(bracket, &ids, parts));
    }
    Ok(ranges)
}

/// The document at one end of the collection.
enum End {
    None,
    /// Its id is no valid BSON.
    Unreadable,
    Id(Bson),
}

/// The least and the greatest id, from the index.
async fn ends(source: &Source) -> Result<(End, End), DriverError> {
    let end = async |direction: i32| {
        let first = source
            .collection
            .find_one(doc! {})
            .projection(doc! {"_id": 1})
            .sort(doc! {"_id": direction})
            .await?;
        let Some(first) = first else {
            return Ok(End::None);
        };
        let id = first.get("_id").ok().flatten().map(Bson::try_from);
        Ok::<_, DriverError>(match id {
            Some(Ok(id)) => End::Id(id),
            _ => End::Unreadable,
        })
    };
    Ok((end(1).await?, end(-1).await?))
}

/// The mark of ids that are numbers, if there are any.
async fn greatest_number(source: &Source) -> Result<Option<Mark>, DriverError> {
    let greatest = source
        .collection
        .find_one(doc! {"_id": {"$type": "number"}})
        .projection(doc! {"_id": 1})
        .sort(doc! {"_id": -1})
        .await?;
    let mut seen = MarkTracker::default();
    if let Some(document) = &greatest {
        seen.see(&Trace::of(document));
    }
    Ok(seen.marks().pop())
}

/// The types that ids have. The same at both ends proves that all are of one.
async fn brackets(source: &Source, least: &Bson, most: &Bson) -> Result<Vec<usize>, DriverError> {
    let (least, most) = (values::bracket_of(least), values::bracket_of(most));
    if least == most {
        return Ok(vec![least]);
    }
    let mut brackets = Vec::new();
    for (bracket, types) in BRACKETS.iter().enumerate().take(most + 1).skip(least) {
        let filter = doc! {"_id": {"$type": *types}};
        let one = source
            .collection
            .find_one(filter)
            .projection(doc! {"_id": 1})
            .await?;
        if one.is_some() {
            brackets.push(bracket);
        }
    }
    Ok(brackets)
}

/// Some ids, drawn at random, by type and in their order.
async fn sample(source: &Source, ranges: usize, brackets: &[usize]) -> Result<Vec<Vec<Bson>>, DriverError> {
    let mut samples = vec![Vec::new(); BRACKETS.len()];
    if ranges < 2 || brackets.is_empty() {
        return Ok(samples);
    }
    let size = i64::try_from(ranges * SAMPLE_PER_RANGE).unwrap_or(i64::MAX);
    let pipeline = [
        doc! {"$sample": {"size": size}},
        doc! {"$project": {"_id": 1}},
        doc! {"$sort": {"_id": 1}},
    ];
    let mut cursor = source
        .collection
        .aggregate(pipeline)
        .with_type::<RawDocumentBuf>()
        .await?;
    while cursor.advance().await? {
        let id = cursor.current().get("_id").ok().flatten();
        if let Some(Ok(id)) = id.map(Bson::try_from) {
            samples[values::bracket_of(&id)].push(id);
        }
    }
    Ok(samples)
}
