//! `timezone(zone, instant)` for a DuckDB without ICU, as the one is that its crate compiles.
//!
//! The models use no other function of ICU. What a person's query may miss are collations and the arithmetic of
//! `TIMESTAMPTZ`; the session's zone is UTC.

use std::error::Error;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};
use duckdb::vscalar::{ArrowFunctionSignature, VArrowScalar};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// The wall clock of a zone at an instant.
pub(crate) struct LocalTime;

impl VArrowScalar for LocalTime {
    type State = ();

    fn invoke((): &(), input: RecordBatch) -> Result<Arc<dyn Array>, Box<dyn Error>> {
        let (zones, instants) = (input.column(0), input.column(1));
        let (zones, instants) = (
            zones.as_string::<i32>(),
            instants.as_primitive::<TimestampMicrosecondType>(),
        );
        // Nearly always one zone for all rows.
        let mut known: Option<(&str, TimeZone)> = None;
        let mut local = TimestampMicrosecondArray::builder(input.num_rows());
        for (name, instant) in zones.iter().zip(instants) {
            let (Some(name), Some(instant)) = (name, instant) else {
                local.append_null();
                continue;
            };
            if known.as_ref().is_none_or(|(known, _)| *known != name) {
                known = Some((name, TimeZone::get(name)?));
            }
            let offset = match &known {
                Some((_, zone)) => zone.to_offset(Timestamp::from_microsecond(instant)?),
                None => Offset::UTC,
            };
            local.append_value(instant + i64::from(offset.seconds()) * 1_000_000);
        }
        Ok(Arc::new(local.finish()))
    }

    fn signatures() -> Vec<ArrowFunctionSignature> {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        vec![ArrowFunctionSignature::exact(
            vec![DataType::Utf8, instant],
            DataType::Timestamp(TimeUnit::Microsecond, None),
        )]
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn clocks_move_with_the_seasons() {
        let check = |zone: Option<&str>, instant: &str, expected: Option<&str>| {
            let instant = instant.parse::<Timestamp>().unwrap().as_microsecond();
            let columns: [(&str, ArrayRef); 2] = [
                ("zone", Arc::new(StringArray::from(vec![zone]))),
                (
                    "instant",
                    Arc::new(TimestampMicrosecondArray::from(vec![instant]).with_timezone("UTC")),
                ),
            ];
            let local = LocalTime::invoke(&(), RecordBatch::try_from_iter(columns).unwrap()).unwrap();
            let local = local
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .next()
                .unwrap();
            let expected = expected.map(|clock| format!("{clock}Z").parse::<Timestamp>().unwrap());
            assert_eq!(local, expected.map(Timestamp::as_microsecond));
        };
        check(
            Some("UTC"),
            "2026-07-01T12:00:00.000001Z",
            Some("2026-07-01T12:00:00.000001"),
        );
        check(
            Some("Europe/Berlin"),
            "2026-07-01T12:00:00Z",
            Some("2026-07-01T14:00:00"),
        );
        check(
            Some("Europe/Berlin"),
            "2026-01-01T23:30:00Z",
            Some("2026-01-02T00:30:00"),
        );
        check(
            Some("America/New_York"),
            "1960-01-01T00:00:00Z",
            Some("1959-12-31T19:00:00"),
        );
        check(None, "2026-07-01T12:00:00Z", None);
    }
}
