{{ config(materialized='table') }}

select
    {{ dbt_utils.generate_surrogate_key(['session.session_id']) }} as session_key,
    session.session_id,
    {{ dbt_utils.generate_surrogate_key(['session.project_path']) }} as project_key,
    session.title,
    session.start_time,
    session.end_time,
    cast(session.duration_seconds as bigint) as duration_seconds,
    cast(session.active_seconds as bigint) as active_seconds,
    cast(session.human_messages + session.assistant_messages as bigint) as message_count,
    cast(session.human_messages as bigint) as human_messages,
    cast(session.assistant_messages as bigint) as assistant_messages,
    cast(session.turns as bigint) as turns,
    session.models,
    session.git_branch,
    session.machine,
    session.user_name,
    {{ optional_key('parents.parent_session_id') }} as parent_session_key,
    session.outcome
from {{ ref('int_sessions_computed') }} as session
left join {{ ref('int_session_parents') }} as parents on parents.session_id = session.session_id
