import { sessionHookSuite } from '../support/session-hook-suite.ts'
import { postgresSide } from '../support/sides/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

sessionHookSuite(postgresSide)
sessionHookSuite(sqlServerSide)
