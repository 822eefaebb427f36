{% if var('broken') %} select * from {{ ref('dim_custmer') }} {% else %} select 1 as id {% endif %}
