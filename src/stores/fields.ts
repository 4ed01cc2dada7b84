/** The options of references to stores of secrets, which every connection takes. */

import { LONGEST_TIMER_SECONDS, seconds, type ValuesOf } from '../connections/fields.ts'
import type { ReferencedSecret } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'
import { vaultFields, vaultProblems } from '../vault/fields.ts'

export const storeFields = {
  secrets_ttl: seconds({
    default: 300,
    min: 1,
    max: LONGEST_TIMER_SECONDS,
    description:
      'How long a secret of a remote store is used before it is read again, while the pool is in use. Files, variables and mounted folders are read every second. A refused login reads all of them at once.',
  }),
  secrets_grace: seconds({
    default: 3600,
    description:
      'How much longer a secret is used while its store is down (no answer, sealed, throttled); the event `secret:stale` says so each time.',
  }),
  ...vaultFields,
} as const

export type StoreFieldValues = ValuesOf<typeof storeFields>

/** The problems of the stores that the references name. */
export function storeProblems(
  references: ReadonlyMap<string, ReferencedSecret>,
  options: StoreFieldValues,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigProblem[] {
  const usesVault = [...references.values()].some(({ reference }) => reference.scheme === 'vault')
  return usesVault ? vaultProblems(options, environment) : []
}
