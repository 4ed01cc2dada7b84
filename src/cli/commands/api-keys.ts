import type { AuditLog } from '../../audit/log.ts'
import { PoolsmithError } from '../../errors.ts'
import type { ApiKeys, NewApiKey } from '../../rotation/api-keys/api-keys.ts'
import type { ApiKeyInfo } from '../../rotation/api-keys/entries.ts'
import { openApiKeys } from '../../rotation/api-keys/open-api-keys.ts'
import { actionOf, type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { moment, rows } from '../layout.ts'
import { readValue } from '../secrets/value.ts'

const ACTIONS: Readonly<Record<string, (call: Call, keys: ApiKeys) => Promise<Outcome>>> = {
  list,
  generate,
  rotate,
  revoke,
  validate,
}

const PLACE_VARIABLE = 'POOLSMITH_API_KEYS'
const AUDIT_VARIABLE = 'POOLSMITH_AUDIT_FILE'

export const apiKeysCommand: Command = {
  name: 'api-keys',
  summary: 'Make, list, rotate, revoke and validate API keys of services.',
  description:
    'list: the metadata of the keys, never a key. generate: the first key of a service. rotate: the next one; the one ' +
    'before stays valid for --grace. revoke: all keys of a service, or one version. validate: whose key standard input ' +
    'holds. The store is told by variables, such as VAULT_ADDR and VAULT_TOKEN, or POOLSMITH_SECRETS_FILE.',
  positionals: [
    { name: 'action', description: `${Object.keys(ACTIONS).join(', ')}.` },
    { name: 'service', description: 'Small letters, digits and hyphens.', optional: true },
  ],
  takesSecrets: true,
  saysTryAgain: true,
  options: {
    store: {
      type: 'string',
      value: 'PLACE',
      description: `The secret of the index, such as vault:secret/api-keys or encrypted:api-keys. Default: ${PLACE_VARIABLE}.`,
    },
    'hash-only': { type: 'boolean', description: 'Keep hashes alone; generate and rotate print the key, once.' },
    show: { type: 'boolean', description: 'generate, rotate: print the key also where the store keeps it.' },
    prefix: { type: 'string', value: 'WORD', description: 'generate, rotate: the first word of the key. Default psm.' },
    grace: {
      type: 'string',
      value: 'SECONDS',
      description: 'rotate: how long the key before stays valid. Default: a day.',
    },
    'rotate-after': {
      type: 'string',
      value: 'DAYS',
      description: 'When it is to be replaced. Default: after 90 days.',
    },
    'expires-after': { type: 'string', value: 'DAYS', description: 'When it is refused. Default: never by itself.' },
    version: { type: 'string', value: 'N', description: 'revoke: this version alone.' },
    'audit-file': {
      type: 'string',
      value: 'FILE',
      description: `An audit log that gets a line before the command ends. Default: ${AUDIT_VARIABLE}.`,
    },
    by: { type: 'string', value: 'NAME', description: 'The person or job that orders it, for the audit log.' },
  },
  async run(call) {
    const act = actionOf(ACTIONS, call)
    const { values, environment } = call
    const place = textOf(call, 'store') ?? environment[PLACE_VARIABLE]
    if (!place) throw new UsageError(`which store? Name it by --store, or set ${PLACE_VARIABLE}.`)
    const keep = values['hash-only'] === true ? 'hash' : 'key'
    await using audit = await auditOf(call)
    const options = { environment, keep, prefix: textOf(call, 'prefix'), audit, by: textOf(call, 'by') } as const
    using keys = await openApiKeys(place, options)
    return await act(call, keys)
  },
}

async function auditOf(call: Call): Promise<AuditLog | undefined> {
  const file = textOf(call, 'audit-file') ?? call.environment[AUDIT_VARIABLE]
  if (!file) return undefined
  const { openAuditLog } = await import('../../audit/index.ts')
  return openAuditLog({ file, mode: 'required' })
}

async function list(call: Call, keys: ApiKeys): Promise<Outcome> {
  const found = await keys.list(call.positionals[1], call.signal)
  const { out } = call.terminal
  const texts = found.map(
    (info) => `${out.style('bold', `${info.service} ${info.version}`)}\n${rows(factsOf(info), out.width)}`,
  )
  return { data: { keys: found.map(dataOf) }, text: texts.join('\n') || `${keys.name} holds no keys.` }
}

async function generate(call: Call, keys: ApiKeys): Promise<Outcome> {
  return made(call, await keys.generate(serviceOf(call), lifeOf(call)))
}

async function rotate(call: Call, keys: ApiKeys): Promise<Outcome> {
  const graceSeconds = numberOf(call, 'grace')
  return made(call, await keys.rotate(serviceOf(call), { ...lifeOf(call), graceSeconds }))
}

async function revoke(call: Call, keys: ApiKeys): Promise<Outcome> {
  const revoked = await keys.revoke(serviceOf(call), numberOf(call, 'version'), call.signal)
  const versions = revoked.map(({ version }) => version).join(', ')
  const noun = revoked.length === 1 ? 'version' : 'versions'
  return { data: { keys: revoked.map(dataOf) }, text: `${serviceOf(call)}: revoked ${noun} ${versions}` }
}

async function validate(call: Call, keys: ApiKeys): Promise<Outcome> {
  if (call.positionals[1] !== undefined) throw new UsageError('validate takes a key by standard input alone.')
  const info = await keys.validate(await readValue(call, 'once'), call.signal)
  if (info !== undefined) return { data: { key: dataOf(info) }, text: `${info.service}, version ${info.version}` }
  throw new PoolsmithError('The API key is not valid.', {
    code: 'API_KEY_INVALID',
    phase: 'credential',
    hint: 'It is unknown, wrong, expired or revoked. `poolsmith api-keys list` shows the keys of a service.',
  })
}

function made(call: Call, { key, info }: NewApiKey): Outcome {
  const isShown = call.values['show'] === true || call.values['hash-only'] === true
  const data = { key: dataOf(info), ...(isShown ? { value: key.reveal() } : {}) }
  if (isShown) return { data, text: key.reveal(), verbatim: true }
  return { data, text: `${info.service}: version ${info.version}, in the store` }
}

function factsOf(info: ApiKeyInfo): readonly (readonly [string, string | undefined])[] {
  return [
    ['state', info.state],
    ['created', moment(info.createdAt)],
    ['rotate after', moment(info.rotateAfter)],
    ['expires', info.expiresAt === undefined ? undefined : moment(info.expiresAt)],
    ['hash', info.hash],
  ]
}

function dataOf(info: ApiKeyInfo): Readonly<Record<string, unknown>> {
  const iso = (at: number | undefined): string | null => (at === undefined ? null : new Date(at).toISOString())
  return {
    ...info,
    createdAt: iso(info.createdAt),
    rotateAfter: iso(info.rotateAfter),
    expiresAt: iso(info.expiresAt),
  }
}

function serviceOf({ positionals }: Call): string {
  const service = positionals[1]
  if (service === undefined) throw new UsageError('<service> is missing.')
  return service
}

function lifeOf(call: Call) {
  return {
    rotateAfterDays: numberOf(call, 'rotate-after'),
    expiresAfterDays: numberOf(call, 'expires-after'),
    signal: call.signal,
  }
}

function textOf({ values }: Call, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

function numberOf(call: Call, name: string): number | undefined {
  const given = textOf(call, name)
  if (given === undefined) return undefined
  if (!/^\d{1,8}(\.\d{1,3})?$/.test(given)) throw new UsageError(`--${name} expects a number from 0.`)
  return Number(given)
}
