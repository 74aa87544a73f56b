-- Health of a ModelRollout for Argo CD. Argo CD runs this without the string, io and os libraries.
--
-- Healthy      the version in spec serves all traffic
-- Suspended    people are waited for: a pause, an approval
-- Degraded     rolled back, or something that only a person can mend; the message says what
-- Progressing  everything else, also a change that the operator has not seen yet
local status = obj.status or {}

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "being deleted; traffic stays on the stable version"}
end
if status.phase == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not judged this change yet"}
end

local ready = "Unknown"
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition.status
  end
end

local health = {status = "Progressing", message = status.message or status.phase}
if status.next ~= nil and status.next ~= "" then
  health.message = health.message .. " (next: " .. status.next .. ")"
end
if ready == "True" then
  health.status = "Healthy"
elseif ready == "False" then
  health.status = "Degraded"
elseif status.phase == "Paused" or status.phase == "AwaitingApproval" then
  health.status = "Suspended"
end
return health
