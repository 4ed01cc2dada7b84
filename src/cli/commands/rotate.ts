import { inSentence } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { type RotateOptions, rotate } from '../../rotation/rotate.ts'
import { rotateCertificate } from '../../rotation/rotate-certificate.ts'
import { rotateKeytab } from '../../rotation/rotate-keytab.ts'
import { passwordOf } from '../../rotation/site-command.ts'
import { type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf } from '../shared-options.ts'

export const rotateCommand: Command = {
  name: 'rotate',
  summary: 'Change the password, the client certificate or the keytab of a connection, while pools use it.',
  description:
    'The password must be in a store that can be written (password_from). The same command goes on after a failure or ' +
    'a kill; the error says at which step it stands. docs/rotation.md has the steps.',
  positionals: [CONNECTION_ARGUMENT],
  options: {
    users: {
      type: 'string',
      value: 'A,B',
      description: 'Two users that take turns, instead of one whose password changes. Needs --admin, and login_from.',
    },
    admin: {
      type: 'string',
      value: 'CONNECTION',
      description: 'The connection of a role that may set the password. Default: the user sets its own.',
    },
    'password-command': {
      type: 'string',
      value: 'COMMAND',
      description:
        'A shell command that prints a password by the rules of the server. Default: 32 characters are made.',
    },
    'certificate-command': {
      type: 'string',
      value: 'COMMAND',
      description:
        'Replace the client certificate instead: a shell command that prints a certificate with its chain, and its key.',
    },
    keytab: {
      type: 'boolean',
      description: 'Give the principal of the keytab a new key instead, by the protocol of RFC 3244.',
    },
    'keytab-command': {
      type: 'string',
      value: 'JSON',
      description:
        'The same by a program of yours, as a list such as ["msktutil","--update","--keytab","{keytab}"]. ' +
        '{keytab} and {principal} are replaced; no shell runs.',
    },
    'keep-old': {
      type: 'string',
      value: 'SECONDS',
      description: 'How long tickets of an old key may be in use, so that it stays in the keytab. Default 90000.',
    },
    'only-clean': {
      type: 'boolean',
      description: 'With --keytab: only remove the old versions that no ticket can need.',
    },
    wait: {
      type: 'string',
      value: 'SECONDS',
      description:
        'How long readers that see changes late, such as secrets that Kubernetes mounts, get to see the new password ' +
        'before the server takes it. Default 0.',
    },
    by: { type: 'string', value: 'NAME', description: 'The person or job that orders it, for the audit log.' },
    ...STORE_OPTIONS,
  },
  saysTryAgain: true,
  run,
}

async function run(call: Call): Promise<Outcome> {
  const { positionals, signal, terminal, values } = call
  const { users, admin, 'password-command': command } = values
  const onStep = (step: string): void => {
    if (values['json'] !== true) terminal.log.line(step)
  }
  const keytabCommand = values['keytab-command']
  if (values['keytab'] === true || keytabCommand !== undefined) return replaceKeys(call, keytabCommand, onStep)
  for (const name of ['keep-old', 'only-clean']) {
    if (values[name] !== undefined) throw new UsageError(`--${name} has no effect without --keytab.`)
  }
  if (typeof values['certificate-command'] === 'string') {
    return replaceCertificate(call, values['certificate-command'], onStep)
  }
  const options: RotateOptions = {
    stores: storesOf(call),
    users: typeof users === 'string' ? twoOf(users) : undefined,
    admin: typeof admin === 'string' ? admin : undefined,
    generate:
      typeof command === 'string' ? () => passwordOf(command, { environment: call.environment, signal }) : undefined,
    wait: secondsOf(values, 'wait'),
    by: byOf(call),
    onStep,
    signal,
  }
  const result = await rotate(positionals[0] ?? '', options)
  const { connection, user, place, resumed } = result
  const how = resumed ? ' (an earlier rotation was finished)' : ''
  return {
    data: { ...result },
    text: printable(`${connection}: ${user} has a new password in ${inSentence(place)}${how}`, 1000),
  }
}

const FOR_PASSWORDS = ['users', 'admin', 'password-command', 'wait'] as const

function assertAlone({ values }: Call, option: string, others: readonly string[]): void {
  for (const name of others) {
    if (values[name] !== undefined) throw new UsageError(`--${name} has no effect beside --${option}.`)
  }
}

async function replaceKeys(
  call: Call,
  command: string | boolean | undefined,
  onStep: (step: string) => void,
): Promise<Outcome> {
  assertAlone(call, 'keytab', [...FOR_PASSWORDS, 'certificate-command'])
  const { positionals, signal, values } = call
  const result = await rotateKeytab(positionals[0] ?? '', {
    stores: storesOf(call),
    command: typeof command === 'string' ? vectorOf(command) : undefined,
    keepOldSeconds: secondsOf(values, 'keep-old'),
    onlyClean: values['only-clean'] === true,
    by: byOf(call),
    onStep,
    signal,
  })
  const { connection, principal, place, kvno, versions, resumed } = result
  const has = values['only-clean'] === true ? 'has its key' : 'has a new key'
  const how = resumed ? ', where an earlier rotation was finished' : ''
  const text = `${connection}: ${principal} ${has} in ${place}, version ${kvno} (it holds ${versions.join(', ')})${how}`
  return { data: { ...result }, text: printable(text, 1000) }
}

function vectorOf(given: string): readonly string[] {
  try {
    const list: unknown = JSON.parse(given)
    if (Array.isArray(list) && list.every((one) => typeof one === 'string')) return list
  } catch {
    // It is told below.
  }
  throw new UsageError('--keytab-command expects a list in JSON, such as ["msktutil","--keytab","{keytab}"].')
}

async function replaceCertificate(call: Call, issue: string, onStep: (step: string) => void): Promise<Outcome> {
  assertAlone(call, 'certificate-command', FOR_PASSWORDS)
  const { positionals, signal } = call
  const result = await rotateCertificate(positionals[0] ?? '', {
    issue,
    stores: storesOf(call),
    by: byOf(call),
    onStep,
    signal,
  })
  const { connection, subject, place, expiresAt } = result
  const until = new Date(expiresAt).toISOString()
  const text = printable(
    `${connection}: ${subject} has a new certificate in ${inSentence(place)}, until ${until}`,
    1000,
  )
  return { data: { ...result, expiresAt: until }, text }
}

function byOf({ values }: Call): string | undefined {
  return typeof values['by'] === 'string' ? values['by'] : undefined
}

function twoOf(given: string): readonly [string, string] {
  const [one = '', other = '', ...more] = given.split(',')
  if (one === '' || other === '' || more.length > 0) throw new UsageError(`--users expects A,B, got ${given}.`)
  return [one, other]
}

function secondsOf(values: Call['values'], option: 'wait' | 'keep-old'): number | undefined {
  const given = values[option]
  if (typeof given !== 'string') return undefined
  if (!/^\d{1,8}(\.\d{1,3})?$/.test(given)) throw new UsageError(`--${option} expects seconds from 0, got ${given}.`)
  return Number(given)
}
