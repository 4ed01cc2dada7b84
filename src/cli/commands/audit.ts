import { createReadStream } from 'node:fs'
import { errorText } from '../../any-error.ts'
import type { AuditVerification } from '../../audit/verify.ts'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { actionOf, type Call, type Command, type Outcome } from '../command.ts'
import { EXIT_CODES } from '../exit-codes.ts'

const ACTIONS = { verify }

export const auditCommand: Command = {
  name: 'audit',
  summary: 'Check that no line of an audit log was removed or changed.',
  description:
    'The log must have been written with audit_chain. Give rotated files in their order, the oldest first. ' +
    `Exit codes: 0 nothing is missing, ${EXIT_CODES.auditBroken} a line does not fit, ${EXIT_CODES.auditTruncated} only the ` +
    `last line is not whole, as after a crash, ${EXIT_CODES.auditUnlinked} no line has a hash.`,
  positionals: [
    { name: 'action', description: 'verify' },
    { name: 'file', description: 'The file; `-` for standard input.', repeated: true },
  ],
  options: {},
  run: (call) => actionOf(ACTIONS, call)(call),
}

async function verify(call: Call): Promise<Outcome> {
  const [, ...files] = call.positionals
  const { verifyAudit } = await import('../../audit/verify.ts')
  const verified = await verifyAudit(contentOf(files, call))
  const { verdict } = verified
  return { data: { files, ...verified }, text: textOf(verified, files), exitCode: CODES[verdict] }
}

const CODES: Readonly<Record<AuditVerification['verdict'], number>> = {
  whole: EXIT_CODES.success,
  broken: EXIT_CODES.auditBroken,
  truncated: EXIT_CODES.auditTruncated,
  unlinked: EXIT_CODES.auditUnlinked,
}

async function* contentOf(files: readonly string[], { input, signal }: Call): AsyncGenerator<Buffer> {
  for (const file of files) {
    try {
      yield* file === '-' ? input() : createReadStream(file, { signal })
    } catch (cause) {
      throw new PoolsmithError(`The audit log ${printable(file)} cannot be read: ${printable(errorText(cause))}`, {
        code: 'AUDIT_FILE_REFUSED',
        phase: 'config',
        hint: 'Check the path, and that this user may read the file.',
        details: { path: file },
        cause,
      })
    }
  }
}

function textOf(
  { verdict, lines, torn, unlinked, chains, fault }: AuditVerification,
  files: readonly string[],
): string {
  const name = files.map((file) => printable(file)).join(', ')
  const counted = `${lines} ${lines === 1 ? 'line' : 'lines'}`
  const notes = [
    torn > 0 ? `${torn} not whole, noted by the writer after a crash or a full disk` : undefined,
    unlinked > 0 && chains.length > 0 ? `${unlinked} before the first with a hash` : undefined,
  ].filter((note) => note !== undefined)
  const more = notes.length === 0 ? '' : ` (${notes.join('; ')})`
  switch (verdict) {
    case 'whole':
      return [
        `${name}: ${counted}${more}; none was removed or changed.`,
        ...chains.map(({ id, last, hash }) => `chain ${printable(id)}: last number ${last}, hash ${hash}`),
      ].join('\n')
    case 'truncated':
      return `${name}: ${counted}${more}; the last one is not whole, as after a crash. The others are in order.`
    case 'unlinked':
      return `${name}: ${counted}, and none has a hash. Write the log with audit_chain=true.`
    case 'broken':
      return `${name}: line ${fault?.line} ${fault?.problem}.`
  }
}
