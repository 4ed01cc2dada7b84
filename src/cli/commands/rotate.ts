import { printable } from '../../printable.ts'
import { type RotateOptions, rotate } from '../../rotation/rotate.ts'
import { rotateCertificate } from '../../rotation/rotate-certificate.ts'
import { passwordOf } from '../../rotation/site-command.ts'
import { type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf } from '../shared-options.ts'

export const rotateCommand: Command = {
  name: 'rotate',
  summary: 'Change the password or the client certificate of a connection, while pools use it.',
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
    wait: {
      type: 'string',
      value: 'SECONDS',
      description:
        'How long readers that see changes late, such as secrets that Kubernetes mounts, get to see the new password ' +
        'before the server takes it. Default 0.',
    },
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
  if (typeof values['certificate-command'] === 'string') {
    return replaceCertificate(call, values['certificate-command'], onStep)
  }
  const options: RotateOptions = {
    stores: storesOf(call),
    users: typeof users === 'string' ? twoOf(users) : undefined,
    admin: typeof admin === 'string' ? admin : undefined,
    generate:
      typeof command === 'string' ? () => passwordOf(command, { environment: call.environment, signal }) : undefined,
    wait: waitOf(values['wait']),
    onStep,
    signal,
  }
  const result = await rotate(positionals[0] ?? '', options)
  const { connection, user, place, resumed } = result
  const how = resumed ? ' (an earlier rotation was finished)' : ''
  return { data: { ...result }, text: printable(`${connection}: ${user} has a new password in ${place}${how}`, 1000) }
}

async function replaceCertificate(call: Call, issue: string, onStep: (step: string) => void): Promise<Outcome> {
  for (const name of ['users', 'admin', 'password-command', 'wait']) {
    if (call.values[name] !== undefined) throw new UsageError(`--${name} has no effect beside --certificate-command.`)
  }
  const { positionals, signal } = call
  const result = await rotateCertificate(positionals[0] ?? '', { issue, stores: storesOf(call), onStep, signal })
  const { connection, subject, place, expiresAt } = result
  const until = new Date(expiresAt).toISOString()
  const text = printable(`${connection}: ${subject} has a new certificate in ${place}, until ${until}`, 1000)
  return { data: { ...result, expiresAt: until }, text }
}

function twoOf(given: string): readonly [string, string] {
  const [one = '', other = '', ...more] = given.split(',')
  if (one === '' || other === '' || more.length > 0) throw new UsageError(`--users expects A,B, got ${given}.`)
  return [one, other]
}

function waitOf(given: string | boolean | undefined): number | undefined {
  if (typeof given !== 'string') return undefined
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(given)) throw new UsageError(`--wait expects seconds from 0, got ${given}.`)
  return Number(given)
}
