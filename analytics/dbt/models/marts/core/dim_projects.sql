{{ config(materialized='table') }}

select
    {{ dbt_utils.generate_surrogate_key(['project_path']) }} as project_key,
    project_path,
    coalesce(nullif({{ base_name('project_path') }}, ''), project_path) as project_name,
    min(start_time) as first_seen,
    max(end_time) as last_active,
    cast(count(*) as bigint) as total_sessions,
    cast(sum(human_messages + assistant_messages) as bigint) as total_messages
from {{ ref('int_sessions_computed') }}
group by project_path
