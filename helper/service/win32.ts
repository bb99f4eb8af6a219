/**
 * The helper as a scheduled task that starts with Windows and runs as SYSTEM: Node is no service program by itself, and a
 * task needs no wrapper. Written for Windows, not run there yet.
 */
import { helperArguments, type DefineService } from './definition.ts';

export const defineService: DefineService = (options) => {
  const name = `BowlineHelper-${options.uid}`;
  const path = `C:\\ProgramData\\Bowline\\helper\\${name}.xml`;
  const parameters = helperArguments(options).map((item) => (/\s/.test(item) ? `"${item}"` : item));
  return {
    name,
    path,
    content: `<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>
  <Principals><Principal id="system"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="system"><Exec><Command>${options.node}</Command><Arguments>${parameters.join(' ').replaceAll('"', '&quot;')}</Arguments></Exec></Actions>
</Task>
`,
    start: [
      ['schtasks', '/Create', '/TN', name, '/XML', path, '/F'],
      ['schtasks', '/Run', '/TN', name],
    ],
    stop: [
      ['schtasks', '/End', '/TN', name],
      ['schtasks', '/Delete', '/TN', name, '/F'],
    ],
    status: ['schtasks', '/Query', '/TN', name],
  };
};
