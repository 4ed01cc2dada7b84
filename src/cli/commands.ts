import type { Command } from './command.ts'
import { apiKeysCommand } from './commands/api-keys.ts'
import { auditCommand } from './commands/audit.ts'
import { checkCommand } from './commands/check.ts'
import { connectionsCommand } from './commands/connections.ts'
import { extractCommand } from './commands/extract.ts'
import { rotateCommand } from './commands/rotate.ts'
import { rotationCommand } from './commands/rotation.ts'
import { secretsCommand } from './commands/secrets.ts'
import { ticketCommand } from './commands/ticket.ts'

/** Every command, in the order in which the help lists them. */
export const COMMANDS: readonly Command[] = [
  checkCommand,
  extractCommand,
  connectionsCommand,
  ticketCommand,
  rotationCommand,
  rotateCommand,
  apiKeysCommand,
  secretsCommand,
  auditCommand,
]
