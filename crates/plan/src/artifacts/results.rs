//! run_results.json: how each node of a run went.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::metadata;
use crate::graph::{Detail, Graph, Node};
use crate::inputs::Inputs;
use crate::plan::{BuildPlan, Step, Verdict};

/// How a node went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Built: what there is to say about it.
    Built(String),
    /// A test, with the failures it found.
    Tested(Verdict, i64),
    /// Failed, with the database's words.
    Failed(String),
    /// Not begun, since another one failed.
    Skipped,
}

/// One node of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRun {
    /// Node id.
    pub node: String,
    /// How it went.
    pub outcome: Outcome,
    /// Begin and end, ISO 8601 in UTC; none for what was skipped.
    pub span: Option<(String, String)>,
    /// Time between them.
    pub seconds: f64,
}

/// The results of a run of `plan`. `args` says what was asked for: the command as `which`, its selectors.
pub fn run_results(
    graph: &Graph,
    inputs: &Inputs,
    plan: &BuildPlan,
    runs: &[NodeRun],
    args: &Json,
    seconds: f64,
    generated_at: &str,
) -> Json {
    let steps: BTreeMap<&str, &Step> = plan.steps.iter().map(|step| (step.node(), step)).collect();
    let results: Vec<Json> = runs
        .iter()
        .map(|run| result(graph.node(&run.node), steps.get(run.node.as_str()).copied(), run))
        .collect();
    json!({
        "metadata": metadata("run-results/v6", inputs, generated_at),
        "results": results,
        "elapsed_time": seconds,
        "args": args,
    })
}

fn result(node: Option<&Node>, step: Option<&Step>, run: &NodeRun) -> Json {
    let (status, message, failures) = match &run.outcome {
        Outcome::Built(message) => ("success", Some(message.clone()), None),
        Outcome::Tested(verdict, failures) => {
            let status = match verdict {
                Verdict::Pass => "pass",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            (
                status,
                node.and_then(|node| found(node, *verdict, *failures)),
                Some(*failures),
            )
        }
        Outcome::Failed(message) => ("error", Some(message.clone()), None),
        Outcome::Skipped => ("skipped", None, None),
    };
    let timing: Vec<Json> = run
        .span
        .iter()
        .map(|(began, ended)| json!({"name": "execute", "started_at": began, "completed_at": ended}))
        .collect();
    let query = step.and_then(Step::query);
    let relation = match step {
        Some(Step::Model(_) | Step::Snapshot(_)) => node.and_then(|node| node.relation.as_ref()),
        _ => None,
    };
    json!({
        "status": status,
        "timing": timing,
        "thread_id": "main",
        "execution_time": run.seconds,
        "adapter_response": {},
        "message": message,
        "failures": failures,
        "unique_id": run.node,
        "compiled": query.map(|_| true),
        "compiled_code": query,
        "relation_name": relation.map(ToString::to_string),
        "batch_results": null,
        "overload_results": null,
    })
}

/// dbt's words for what a test found.
fn found(node: &Node, verdict: Verdict, failures: i64) -> Option<String> {
    let (Detail::Singular(test) | Detail::Generic(test, _)) = &node.detail else {
        return None;
    };
    let plural = if failures == 1 { "" } else { "s" };
    let configured = match verdict {
        Verdict::Pass => return None,
        Verdict::Warn => format!("warn if {}", test.warn_if),
        Verdict::Fail => format!("fail if {}", test.error_if),
    };
    Some(format!(
        "Got {failures} result{plural}, configured to {configured}"
    ))
}
