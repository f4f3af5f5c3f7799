{{ config(materialized='incremental', unique_key='message_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

response_lines as (

    select
        {{ response_id('line') }} as response_id,
        line.line_id,
        line.seen_in,
        line.timestamp,
        line.source_file,
        line.source_offset,
        line.content_length,
        line.stop_reason,
        line.input_tokens,
        line.output_tokens,
        line.cache_write_5m_tokens,
        line.cache_write_1h_tokens,
        line.cache_read_tokens
    from {{ ref('stg_messages') }} as line
    inner join touched on touched.session_id = line.session_id
    where line.role = 'assistant'
        and not line.is_client_made

),

-- Every line of a response repeats its usage, growing while the response streams: the greatest is the final one.
usages as (

    select
        response_id,
        count(*) as line_count,
        max(stop_reason) as stop_reason,
        coalesce(
            sum(content_length) filter (where seen_in = 'transcript'),
            sum(content_length)
        ) as content_length,
        max(input_tokens) as input_tokens,
        max(output_tokens) as output_tokens,
        max(cache_write_5m_tokens) as cache_write_5m_tokens,
        max(cache_write_1h_tokens) as cache_write_1h_tokens,
        max(cache_read_tokens) as cache_read_tokens
    from response_lines
    group by response_id

),

first_lines as (

    select response_id, line_id
    from (
        select
            response_id,
            line_id,
            row_number() over (partition by response_id order by {{ most_original() }}, line_id) as telling
        from response_lines
    )
    where telling = 1

),

messages as (

    select
        usages.response_id as natural_key,
        'assistant' as role,
        first_lines.line_id,
        usages.line_count,
        usages.stop_reason,
        usages.content_length,
        coalesce(usages.input_tokens, 0) as input_tokens,
        coalesce(usages.output_tokens, 0) as output_tokens,
        coalesce(usages.cache_write_5m_tokens, 0) as cache_write_5m_tokens,
        coalesce(usages.cache_write_1h_tokens, 0) as cache_write_1h_tokens,
        coalesce(usages.cache_read_tokens, 0) as cache_read_tokens
    from usages
    inner join first_lines on first_lines.response_id = usages.response_id

    union all

    select
        coalesce(prompt.uuid, prompt.line_id) as natural_key,
        'human' as role,
        prompt.line_id,
        1 as line_count,
        cast(null as string) as stop_reason,
        prompt.content_length,
        0 as input_tokens,
        0 as output_tokens,
        0 as cache_write_5m_tokens,
        0 as cache_write_1h_tokens,
        0 as cache_read_tokens
    from {{ ref('stg_messages') }} as prompt
    inner join touched on touched.session_id = prompt.session_id
    where prompt.is_human_prompt

)

select
    {{ dbt_utils.generate_surrogate_key(['messages.natural_key']) }} as message_id,
    messages.natural_key,
    messages.role,
    line.session_id,
    line.line_id,
    line.uuid,
    line.parent_uuid,
    line.seen_in,
    line.timestamp,
    {{ date_key('line.timestamp') }} as date_key,
    case when messages.role = 'assistant' then line.model end as model,
    line.is_sidechain,
    line.agent_id,
    messages.line_count,
    messages.stop_reason,
    messages.stop_reason is not null as has_final_usage,
    cast(messages.content_length as bigint) as content_length,
    case when messages.role = 'human' then {{ task_category("coalesce(line.content, '')") }} end as task_category,
    cast(messages.input_tokens as bigint) as input_tokens,
    cast(messages.output_tokens as bigint) as output_tokens,
    cast(messages.cache_write_5m_tokens as bigint) as cache_write_5m_tokens,
    cast(messages.cache_write_1h_tokens as bigint) as cache_write_1h_tokens,
    cast(messages.cache_read_tokens as bigint) as cache_read_tokens,
    touched.version as _version
from messages
inner join {{ ref('stg_messages') }} as line on line.line_id = messages.line_id
inner join touched on touched.session_id = line.session_id
