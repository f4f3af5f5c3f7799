-- A call the user refused, or that nothing answered, neither succeeded nor failed.
select tool_call_id
from {{ ref('fct_tool_calls') }}
where (is_rejected and is_success is not null)
    or (not is_rejected and error_class is not null and is_success is distinct from false)
