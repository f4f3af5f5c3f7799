//! dbt's Jinja: finding definitions, the macro catalog, and rendering with the functions dbt gives templates.

pub(crate) mod catalog;
pub(crate) mod functions;
pub(crate) mod scan;
pub(crate) mod session;
pub(crate) mod values;
