-- Reads of whole tables take their time; rows that a policy would hide are an error; texts do not depend on settings of roles.
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('row_security', 'off', true), set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true),
       set_config('intervalstyle', 'postgres', true), set_config('search_path', 'public', true), set_config('xmlbinary', 'base64', true)
