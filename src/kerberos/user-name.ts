import { realmIn } from './facts.ts'

/**
 * The database user for a principal: its name without the realm, as the server's `include_realm=0` has it
 * (PostgreSQL, "GSSAPI Authentication"). A mapping adds a suffix to the names of some realms:
 * `{ 'PARTNER.COM': '@partner' }` makes `bob@PARTNER.COM` the user `bob@partner`.
 */
export function userOf(principal: string, suffixes: Readonly<Record<string, string>> = {}): string {
  const realm = realmIn(principal)
  const name = realm === undefined ? principal : principal.slice(0, -realm.length - 1)
  const suffix = realm !== undefined && Object.hasOwn(suffixes, realm) ? (suffixes[realm] ?? '') : ''
  // krb5 quotes `@`, `/` and `\` inside a name with a backslash; the server compares the plain name.
  return name.replaceAll(/\\(.)/g, '$1') + suffix
}
