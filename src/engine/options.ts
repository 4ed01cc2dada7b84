import { boolean, text } from '../connections/fields.ts'

/** Extras that apply to every connection, whatever its strategy and driver. */
export const engineFields = {
  auth_method: text({
    pattern: { matches: /^[\w.-]{1,64}$/, expected: 'the name of a strategy' },
    description:
      'The strategy that proves who we are. Default: `password`; for SQL Server `sql_auth`, and `kerberos` for a connection without a login.',
  }),
  strict_extras: boolean({
    default: false,
    description: 'Make every unknown key in the extras an error instead of a warning.',
  }),
}
