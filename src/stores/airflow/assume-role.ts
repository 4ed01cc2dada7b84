import type { ConfigProblem } from '../../errors.ts'

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, but for the code of a device, which is good once. */
const ARGUMENTS: readonly string[] = [
  'RoleArn',
  'RoleSessionName',
  'ExternalId',
  'DurationSeconds',
  'Policy',
  'PolicyArns',
  'Tags',
  'TransitiveTagKeys',
  'SourceIdentity',
  'ProvidedContexts',
]

/** The problems of `assume_role_kwargs`. */
export function assumeRoleProblems(kwargs: Readonly<Record<string, unknown>>): readonly ConfigProblem[] {
  return Object.keys(kwargs)
    .filter((name) => !ARGUMENTS.includes(name))
    .map((name) => ({ path: `assume_role_kwargs.${name}`, message: `only ${ARGUMENTS.join(', ')} are supported` }))
}
