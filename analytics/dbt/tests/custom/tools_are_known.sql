{{ config(severity='warn') }}

-- Tools that no pattern of the seed tool_categories knows: new ones, or ones that a model made up.
select tool_name
from {{ ref('dim_tools') }}
where tool_category = 'other'
