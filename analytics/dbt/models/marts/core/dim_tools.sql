{{ config(materialized='table') }}

with tools as (

    select distinct tool_name from {{ ref('int_tool_usage') }}

),

-- A name of its own wins over a pattern that fits too.
categories as (

    select tool_name, tool_category, description
    from (
        select
            tools.tool_name,
            category.tool_category,
            category.description,
            row_number() over (
                partition by tools.tool_name
                order by tools.tool_name <> category.tool_pattern, category.tool_pattern
            ) as fit
        from tools
        inner join {{ ref('tool_categories') }} as category on tools.tool_name like category.tool_pattern
    )
    where fit = 1

)

select
    {{ dbt_utils.generate_surrogate_key(['tools.tool_name']) }} as tool_key,
    tools.tool_name,
    coalesce(categories.tool_category, 'other') as tool_category,
    coalesce(categories.description, 'Not a tool known to this project') as description,
    case when {{ is_mcp_tool('tools.tool_name') }} then split_part(tools.tool_name, '__', 2) end as mcp_server,
    case
        when {{ is_mcp_tool('tools.tool_name') }}
            then nullif(substr(tools.tool_name, length(split_part(tools.tool_name, '__', 2)) + 8), '')
    end as mcp_tool
from tools
left join categories on categories.tool_name = tools.tool_name
